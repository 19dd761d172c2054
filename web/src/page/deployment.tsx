import { Alert, Anchor, Badge, Button, Card, Code, Group, Progress, SimpleGrid, Stack, Text, Timeline, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Deployment } from "../api/types";
import { useAct } from "../component/act";
import { DeploymentBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { Loaded } from "../component/loaded";
import { Page } from "../component/page";
import { Time } from "../component/time";
import { bytes, isSet } from "../format";
import { mustSignAgain } from "../signature";
import { canRetry, color, isFinal } from "../state";
import { attempts, lastOutput, reasonShown, type Step } from "../timeline";

export default function DeploymentPage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const deployment = useQuery({ queryKey: keys.one("deployments", id), queryFn: () => api.deployment(id) });
  return <Loaded query={deployment} parent={{ to: "/deployments", label: t("deployments.title") }}>{(d) => <Detail deployment={d} />}</Loaded>;
}

function Detail({ deployment: d }: { deployment: Deployment }) {
  const { t } = useTranslation();
  const stale = ["deployments", "packages", "devices"];
  const retry = useAct(() => api.retryDeployment(d.id), stale, () => t("deployment.retried"));
  const cancel = useAct(() => api.cancelDeployment(d.id), stale, () => t("deployment.cancelled"));
  const hostname = d.hostname || d.device_id;
  const askRetry = () =>
    confirm({ title: t("deployment.retryTitle"), text: t("deployment.retryText", { hostname }), action: t("deployment.retry"), danger: false, onConfirm: () => retry.mutate() });
  const askCancel = () =>
    confirm({ title: t("deployment.cancelTitle"), text: t("deployment.cancelText"), action: t("deployment.cancel"), onConfirm: () => cancel.mutate() });
  return (
    <Page
      title={t("deployment.title", { package: `${d.package_name} ${d.package_version}`, hostname, interpolation: { escapeValue: false } })}
      badge={<DeploymentBadge state={d.state} />}
      subtitle={d.summary && <Text role="status" data-testid="summary">{d.summary}</Text>}
      parent={{ to: "/deployments", label: t("deployments.title") }}
      actions={
        <>
          {canRetry(d.state) && <Button variant="default" onClick={askRetry} loading={retry.isPending}>{t("deployment.retry")}</Button>}
          {!isFinal(d.state) && <Button variant="light" color="red" onClick={askCancel} loading={cancel.isPending}>{t("deployment.cancel")}</Button>}
        </>
      }
    >
      {mustSignAgain(d) && (
        <Alert color="yellow" title={t("deployment.signAgainTitle")}>
          <Text size="sm">
            {d.state === "waiting" || d.priority === 0 ? t("deployment.signAgainWaits") : t("deployment.signAgainRefused")}{" "}
            <Anchor component={Link} to={`/packages/${d.package_id}`}>{t("deployment.toPackage")}</Anchor>
          </Text>
        </Alert>
      )}
      <Fetching deployment={d} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder>
          <Title order={2} size="h3" mb="md">{t("deployment.timeline")}</Title>
          <TimelineView deployment={d} />
        </Card>
        <Stack>
          <Card withBorder>
            <Facts>
              <Fact label={t("deployments.package")}><Anchor component={Link} to={`/packages/${d.package_id}`}>{d.package_name} {d.package_version}</Anchor></Fact>
              <Fact label={t("deployments.device")}><Anchor component={Link} to={`/devices/${d.device_id}`}>{hostname}</Anchor></Fact>
              <Fact label={t("packages.priority")}>{d.priority}</Fact>
              <Fact label={t("deployments.attempt")}>{d.attempt}</Fact>
              <Fact label={t("deployment.exitCode")}>{d.exit_code !== undefined && d.exit_code !== null ? <Code>{d.exit_code}</Code> : undefined}</Fact>
              <Fact label={t("deployment.notBefore")}>{isSet(d.not_before) && <Time at={d.not_before} />}</Fact>
              <Fact label={t("common.created")}><Time at={d.created_at} /></Fact>
              <Fact label={t("deployment.finished")}>{isSet(d.finished_at) && <Time at={d.finished_at} />}</Fact>
              <Fact label={t("deployment.deploymentId")}><Copyable value={d.id} /></Fact>
            </Facts>
          </Card>
          <Output deployment={d} />
        </Stack>
      </SimpleGrid>
    </Page>
  );
}

function Fetching({ deployment: d }: { deployment: Deployment }) {
  const { t, i18n } = useTranslation();
  const p = d.progress;
  if (d.state !== "fetching" || !p || p.total <= 0) return null;
  return (
    <Stack gap={4}>
      <Progress value={(100 * p.done) / p.total} aria-label={t("deployment.progressLabel")} />
      <Text size="sm" c="dimmed">{t("deployment.progress", { done: bytes(p.done, i18n.language), total: bytes(p.total, i18n.language) })}</Text>
    </Stack>
  );
}

function TimelineView({ deployment: d }: { deployment: Deployment }) {
  const { t } = useTranslation();
  const list = attempts(d.timeline ?? []);
  return (
    <Stack>
      {list.map((attempt) => (
        <section key={attempt.number} aria-label={t("deployment.attempt", { number: attempt.number })}>
          {list.length > 1 && <Title order={3} size="h5" mb="xs">{t("deployment.attempt", { number: attempt.number })}</Title>}
          <Timeline active={attempt.steps.length} bulletSize={16} lineWidth={2} color="gray">
            {attempt.steps.map((step) => (
              <Timeline.Item key={step.seq} color={color(step.state)} title={<StepTitle step={step} />} lineVariant={step.current ? "dashed" : "solid"}>
                <StepBody step={step} />
              </Timeline.Item>
            ))}
          </Timeline>
        </section>
      ))}
    </Stack>
  );
}

function StepTitle({ step }: { step: Step }) {
  return (
    <Group gap="xs">
      <DeploymentBadge state={step.state} />
      {reasonShown(step) && <Badge variant="default" tt="none" fw={400}>{reasonShown(step)}</Badge>}
    </Group>
  );
}

function StepBody({ step }: { step: Step }) {
  const { t } = useTranslation();
  const sources: Record<string, string> = { server: t("deployment.source_server"), device: t("deployment.source_device"), admin: t("deployment.source_admin") };
  return (
    <Stack gap={2} mt={4}>
      {step.message && <Text size="sm" className="breakable">{step.message}</Text>}
      {step.waits_for && !step.message?.includes(step.waits_for) && <Text size="sm" className="breakable">{t("deployment.waitsFor", { what: step.waits_for })}</Text>}
      <Text size="xs" c="dimmed" component="div">
        {sources[step.source] ?? step.source} · <Time at={step.time} />
        {step.took && ` · +${step.took}`}
        {step.current && isSet(step.next_at) && Date.parse(step.next_at) > Date.now() && <> · <NextAt at={step.next_at} /></>}
      </Text>
    </Stack>
  );
}

function NextAt({ at }: { at: string }) {
  const { t } = useTranslation();
  const [before, after] = t("deployment.nextAt", { when: "\u0000" }).split("\u0000");
  return <>{before}<Time at={at} />{after}</>;
}

function Output({ deployment: d }: { deployment: Deployment }) {
  const { t } = useTranslation();
  const output = d.output || lastOutput(d.timeline ?? []);
  return (
    <Card withBorder>
      <Title order={2} size="h3" mb="sm">{t("deployment.output")}</Title>
      {output ? (
        <pre className="output" tabIndex={0} role="region" aria-label={t("deployment.outputLabel")}>{output}</pre>
      ) : (
        <Text size="sm" c="dimmed">{isFinal(d.state) ? t("deployment.noOutput") : t("deployment.outputLater")}</Text>
      )}
    </Card>
  );
}
