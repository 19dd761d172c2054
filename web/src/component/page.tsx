import { Anchor, Breadcrumbs, EmptyState, Group, Stack, Text, Title } from "@mantine/core";
import { useEffect, type ReactNode } from "react";
import { Link } from "react-router";

interface PageProps {
  title: string;
  subtitle?: ReactNode;
  /** Badges beside the title. */
  badge?: ReactNode;
  parent?: { to: string; label: string };
  actions?: ReactNode;
  children: ReactNode;
}

/** Page is the frame of every page: one heading, what can be done, and the browser's title. */
export function Page({ title, subtitle, badge, parent, actions, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} – Muster`;
  }, [title]);
  return (
    <Stack gap="lg">
      <Stack gap={4}>
        {parent && (
          <Breadcrumbs>
            <Anchor component={Link} to={parent.to} size="sm">{parent.label}</Anchor>
          </Breadcrumbs>
        )}
        <Group justify="space-between" align="flex-start" gap="md">
          <Stack gap={4} flex="1 1 240px">
            <Group gap="sm" align="center">
              <Title order={1} size="h2" className="breakable">{title}</Title>
              {badge}
            </Group>
            {subtitle && <Text c="dimmed" component="div">{subtitle}</Text>}
          </Stack>
          {actions && <Group gap="sm">{actions}</Group>}
        </Group>
      </Stack>
      {children}
    </Stack>
  );
}

/** Empty says what to do next where there is nothing yet. */
export function Empty({ icon, title, hint, action }: { icon?: ReactNode; title: string; hint?: string; action?: ReactNode }) {
  return (
    <EmptyState py="xl" icon={icon} title={title} description={hint} maw={480} mx="auto">
      {action && <EmptyState.Actions>{action}</EmptyState.Actions>}
    </EmptyState>
  );
}
