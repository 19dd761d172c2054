import { Anchor, Badge, Button, Card, Code, Group, SimpleGrid, Stack, Text, Timeline, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link, useParams } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Task, TaskItem } from "../api/types";
import { useAct } from "../component/act";
import { DeploymentBadge, ItemBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { Copyable } from "../component/copy";
import { Fact, Facts } from "../component/facts";
import { Loaded } from "../component/loaded";
import { Page } from "../component/page";
import { Time } from "../component/time";
import { UpdateBadge, UpdateText } from "../component/update-result";
import { isSet, span } from "../format";
import { program } from "../software";
import { color, isFinal } from "../state";
import { reasonShown } from "../timeline";

/** The server's ten minutes for each program, when none were asked for. */
const USUAL_LIMIT_S = 600;

export default function TaskPage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const task = useQuery({ queryKey: keys.one("tasks", id), queryFn: () => api.task(id) });
  return <Loaded query={task} parent={{ to: "/tasks", label: t("tasks.title") }}>{(data) => <Detail task={data} />}</Loaded>;
}

function Detail({ task }: { task: Task }) {
  const { t } = useTranslation();
  const hostname = task.hostname || task.device_id;
  const cancel = useAct(() => api.cancelTask(task.id), ["tasks", "devices"], () => t("deployment.cancelled"));
  const ask = () => confirm({ title: t("task.cancelTitle"), text: t("task.cancelText"), action: t("task.cancel"), onConfirm: () => cancel.mutate() });
  return (
    <Page
      title={t("task.title", { kind: t(`task.kind_${task.kind}`), hostname, interpolation: { escapeValue: false } })}
      badge={<DeploymentBadge state={task.state} />}
      subtitle={<Text role="status" data-testid="summary">{task.summary}</Text>}
      parent={{ to: "/tasks", label: t("tasks.title") }}
      actions={!isFinal(task.state) && <Button variant="light" color="red" onClick={ask} loading={cancel.isPending}>{t("task.cancel")}</Button>}
    >
      {task.kind === "uninstall" && <Items task={task} />}
      {task.update?.result && <Update task={task} />}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder>
          <Title order={2} size="h3" mb="md">{t("deployment.timeline")}</Title>
          <History task={task} />
        </Card>
        <Card withBorder><About task={task} /></Card>
      </SimpleGrid>
    </Page>
  );
}

function About({ task }: { task: Task }) {
  const { t } = useTranslation();
  const uninstall = task.kind === "uninstall";
  return (
    <Facts>
      <Fact label={t("tasks.device")}><Anchor component={Link} to={`/devices/${task.device_id}`}>{task.hostname || task.device_id}</Anchor></Fact>
      <Fact label={t("tasks.by")}>{task.created_by}</Fact>
      <Fact label={t("common.created")}><Time at={task.created_at} /></Fact>
      <Fact label={t("deployment.finished")}>{isSet(task.finished_at) && <Time at={task.finished_at} />}</Fact>
      <Fact label={t("task.nextTry")}>{!isFinal(task.state) && isSet(task.next_try) && <Time at={task.next_try} />}</Fact>
      <Fact label={t("task.message")}>{task.message}</Fact>
      <Fact label={t("task.module")}>{task.module && <Anchor component={Link} to={`/devices/${task.device_id}/modules`}>{task.module}</Anchor>}</Fact>
      <Fact label={t("task.parameters")}>{task.parameters && <Code block>{JSON.stringify(task.parameters, null, 2)}</Code>}</Fact>
      <Fact label={t("update.release")}>{task.update && <Anchor component={Link} to={`/releases/${task.update.release_id}`}>{task.update.version}</Anchor>}</Fact>
      <Fact label={t("update.probation")}>{task.update && span(1000 * task.update.probation_seconds)}</Fact>
      <Fact label={t("task.sections")}>{(task.sections ?? []).join(", ")}</Fact>
      <Fact label={t("task.stopAtFailure")}>{uninstall && (task.stop_at_failure ? t("common.yes") : t("common.no"))}</Fact>
      <Fact label={t("task.limit")}>{uninstall && span(1000 * (task.limit_seconds || USUAL_LIMIT_S))}</Fact>
      <Fact label={t("task.together")}>{(uninstall || task.kind === "update") && <Anchor component={Link} to={`/tasks?batch_id=${task.batch_id}`}>{t("task.togetherLink")}</Anchor>}</Fact>
      <Fact label={t("task.id")}><Copyable value={task.id} /></Fact>
    </Facts>
  );
}

/** Update says which agent ran, which was to run, and which one does. */
function Update({ task }: { task: Task }) {
  const { t } = useTranslation();
  return (
    <Card withBorder padding="sm" component="section" aria-label={t("update.result")}>
      <Group gap="sm">
        <Text fw={600} className="breakable"><UpdateText task={task} /></Text>
        <UpdateBadge task={task} />
      </Group>
      {task.message && <Text size="sm" mt={4} className="breakable">{task.message}</Text>}
    </Card>
  );
}

/** Items shows each program that was to go, in the order that was asked for, told about or not yet. */
function Items({ task }: { task: Task }) {
  const { t } = useTranslation();
  const told = new Map((task.items ?? []).map((i) => [i.id, i]));
  return (
    <Stack gap="sm">
      <Title order={2} size="h3">{t("task.programs")}</Title>
      {(task.software ?? []).map((key) => <Item key={key} id={key} item={told.get(key)} over={isFinal(task.state)} />)}
    </Stack>
  );
}

function Item({ id, item, over }: { id: string; item?: TaskItem; over: boolean }) {
  const { t } = useTranslation();
  const p = program(id);
  return (
    <Card withBorder padding="sm" component="section" aria-label={p.name}>
      <Group justify="space-between" gap="xs">
        <Group gap="xs">
          <Text fw={600} className="breakable">{p.name}</Text>
          <Text size="sm" className="breakable">{p.version}</Text>
          <Text size="sm" c="dimmed">{p.arch}</Text>
        </Group>
        {item ? <ItemBadge status={item.status} /> : <Badge variant="light" color="gray" tt="none">{over ? t("task.notDone") : t("task.notYet")}</Badge>}
      </Group>
      {item?.message && <Text size="sm" mt={4} className="breakable">{item.message}</Text>}
      {item?.others && item.others.length > 0 && <Text size="sm" mt={4} className="breakable">{t("task.others", { names: item.others.join(", ") })}</Text>}
      {item && (item.exit_code !== undefined || !!item.duration_ms) && (
        <Text size="xs" c="dimmed" mt={4} component="div">
          {item.exit_code !== undefined && <>{t("deployment.exitCode")} <Code>{item.exit_code}</Code></>}
          {item.exit_code !== undefined && !!item.duration_ms && " · "}
          {!!item.duration_ms && span(item.duration_ms)}
        </Text>
      )}
      {item?.output && <pre className="output" style={{ marginTop: 8 }} tabIndex={0} role="region" aria-label={`${t("deployment.outputLabel")}: ${p.name}`}>{item.output}</pre>}
    </Card>
  );
}

function History({ task }: { task: Task }) {
  const { t } = useTranslation();
  const steps = [...(task.timeline ?? [])].sort((a, b) => a.seq - b.seq);
  const sources = { server: t("deployment.source_server"), device: t("deployment.source_device"), admin: t("deployment.source_admin") };
  return (
    <Timeline active={steps.length} bulletSize={16} lineWidth={2} color="gray">
      {steps.map((step) => (
        <Timeline.Item
          key={step.seq}
          color={color(step.state)}
          title={
            <Group gap="xs">
              <DeploymentBadge state={step.state} />
              {step.reason && reasonShown({ state: step.state, reason: step.reason }) && <Badge variant="default" tt="none" fw={400}>{step.reason}</Badge>}
            </Group>
          }
        >
          <Stack gap={2} mt={4}>
            {step.message && <Text size="sm" className="breakable">{step.message}</Text>}
            <Text size="xs" c="dimmed" component="div">{sources[step.source]} · <Time at={step.time} /></Text>
          </Stack>
        </Timeline.Item>
      ))}
    </Timeline>
  );
}
