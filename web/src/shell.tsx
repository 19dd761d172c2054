import { ActionIcon, AppShell, Burger, Center, Container, Group, Loader, Menu, NavLink, ScrollArea, Text, Tooltip, UnstyledButton, useMantineColorScheme } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Link, Outlet, useLocation, useNavigation } from "react-router";
import { api } from "./api/client";
import { isUnauthenticated } from "./api/error";
import { useLive } from "./api/live";
import { keys, switchUser } from "./api/query";
import { AssignmentIcon, CheckIcon, DeploymentIcon, DeviceIcon, EventIcon, GroupIcon, KeyIcon, LinesIcon, LogIcon, PackageIcon, ReleaseIcon, ShieldIcon, SoftwareIcon, SunIcon, TaskIcon, TicketIcon, UserIcon } from "./component/icon";
import { notifyProblem, ProblemAlert } from "./component/problem";
import { languages, rememberLanguage, setLanguage, type Language } from "./i18n";
import { openChangePassword } from "./page/account";
import { SignIn } from "./page/sign-in";

/** Shell asks who is there: the sign-in page for nobody, the frame of all pages for somebody. */
export function Shell() {
  const me = useQuery({
    queryKey: keys.me,
    queryFn: ({ signal }) =>
      api.me(signal).catch((err: unknown) => {
        if (isUnauthenticated(err)) return null;
        throw err;
      }),
    staleTime: 60_000,
  });
  if (me.isPending) return <Center h="100vh"><Loader aria-label="Muster" /></Center>;
  if (me.error && !me.data) {
    return <Container size="sm" py="xl"><ProblemAlert error={me.error} onRetry={() => void me.refetch()} /></Container>;
  }
  if (!me.data) return <SignIn />;
  return <SignedIn username={me.data.username} />;
}

function SignedIn({ username }: { username: string }) {
  const { t } = useTranslation();
  const [opened, { toggle, close }] = useDisclosure();
  const live = useLive();
  const { pathname } = useLocation();
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);

  useEffect(() => {
    close();
    // After a change of page the keyboard and screen readers go on at its content.
    if (first.current) first.current = false;
    else main.current?.focus();
  }, [pathname, close]);

  return (
    <AppShell header={{ height: 56 }} navbar={{ width: 230, breakpoint: "sm", collapsed: { mobile: !opened } }} padding="md">
      <a href="#content" className="skip">{t("app.skip")}</a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={t("app.openNavigation")} aria-expanded={opened} />
            <UnstyledButton component={Link} to="/devices">
              <Group gap={8} wrap="nowrap">
                <img src="/favicon.svg" alt="" width={26} height={26} />
                <Text fw={700} size="lg">{t("app.name")}</Text>
              </Group>
            </UnstyledButton>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Live live={live} />
            <ThemeMenu />
            <AccountMenu username={username} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label={t("app.navigation")}>
        <ScrollArea>
          <Navigation />
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main id="content" ref={main} tabIndex={-1}>
        <Container size="xl" px={0}>
          <Pending />
          <Outlet />
        </Container>
      </AppShell.Main>
    </AppShell>
  );
}

function Pending() {
  const { state } = useNavigation();
  if (state !== "loading") return null;
  return <Loader size="xs" pos="fixed" top={64} right={16} aria-hidden="true" />;
}

function Live({ live }: { live: boolean }) {
  const { t } = useTranslation();
  return (
    <Tooltip label={live ? t("app.liveHint") : t("app.notLiveHint")} multiline maw={260}>
      <Text size="xs" c="dimmed" role="status" visibleFrom="xs">{live ? `● ${t("app.live")}` : `○ ${t("app.notLive")}`}</Text>
    </Tooltip>
  );
}

function Navigation() {
  const { t } = useTranslation();
  return (
    <>
      <Section label={t("nav.work")}>
        <Item to="/devices" label={t("nav.devices")} icon={<DeviceIcon />} />
        <Item to="/groups" label={t("nav.groups")} icon={<GroupIcon />} />
        <Item to="/software" label={t("nav.software")} icon={<SoftwareIcon />} />
        <Item to="/packages" label={t("nav.packages")} icon={<PackageIcon />} />
        <Item to="/deployments" label={t("nav.deployments")} icon={<DeploymentIcon />} />
        <Item to="/assignments" label={t("nav.assignments")} icon={<AssignmentIcon />} />
        <Item to="/tasks" label={t("nav.tasks")} icon={<TaskIcon />} />
        <Item to="/events" label={t("nav.events")} icon={<EventIcon />} />
        <Item to="/logs" label={t("nav.logs")} icon={<LinesIcon />} />
      </Section>
      <Section label={t("nav.access")}>
        <Item to="/enrollment-tokens" label={t("nav.enrollmentTokens")} icon={<TicketIcon />} />
        <Item to="/api-tokens" label={t("nav.apiTokens")} icon={<KeyIcon />} />
      </Section>
      <Section label={t("nav.server")}>
        <Item to="/releases" label={t("nav.releases")} icon={<ReleaseIcon />} />
        <Item to="/trust" label={t("nav.trust")} icon={<ShieldIcon />} />
        <Item to="/audit" label={t("nav.audit")} icon={<LogIcon />} />
      </Section>
    </>
  );
}

function Section({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div role="group" aria-label={label}>
      <Text size="xs" c="dimmed" fw={600} px="sm" pt="md" pb={4} aria-hidden="true">{label}</Text>
      {children}
    </div>
  );
}

function Item({ to, label, icon }: { to: string; label: string; icon: ReactNode }) {
  const { pathname } = useLocation();
  const active = pathname === to || pathname.startsWith(`${to}/`);
  return <NavLink component={Link} to={to} label={label} leftSection={icon} active={active} aria-current={active ? "page" : undefined} />;
}

function ThemeMenu() {
  const { t } = useTranslation();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const choices = [
    ["light", t("app.themeLight")],
    ["dark", t("app.themeDark")],
    ["auto", t("app.themeAuto")],
  ] as const;
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={t("app.theme")}><SunIcon /></ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {choices.map(([value, label]) => (
          <Menu.Item key={value} onClick={() => setColorScheme(value)} rightSection={colorScheme === value && <CheckIcon size={14} />}>{label}</Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function AccountMenu({ username }: { username: string }) {
  const { t, i18n } = useTranslation();
  const client = useQueryClient();
  const signOut = async () => {
    try {
      await api.logout();
    } catch (err) {
      if (!isUnauthenticated(err)) {
        notifyProblem(err);
        return;
      }
    }
    switchUser(client, null);
  };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`${t("app.account")}: ${username}`}><UserIcon /></ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{username}</Menu.Label>
        <Menu.Item onClick={openChangePassword}>{t("app.changePassword")}</Menu.Item>
        <Menu.Divider />
        <Menu.Label>{t("app.language")}</Menu.Label>
        {(Object.keys(languages) as Language[]).map((l) => (
          <Menu.Item
            key={l}
            lang={l}
            rightSection={i18n.language === l && <CheckIcon size={14} />}
            onClick={() => {
              rememberLanguage(l);
              void setLanguage(l);
            }}
          >
            {languages[l]}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={() => void signOut()}>{t("app.signOut")}</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
