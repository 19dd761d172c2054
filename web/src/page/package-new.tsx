import { Alert, Button, Card, Checkbox, Code, Group, Stack, Stepper, Text, Title } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useNavigate } from "react-router";
import { api } from "../api/client";
import { keys } from "../api/query";
import { InstructionFacts } from "../component/instruction";
import { Page } from "../component/page";
import { messageOf, notifyDone, notifyProblem, ProblemAlert } from "../component/problem";
import { ActionStep } from "../wizard/action-step";
import { ArchiveStep } from "../wizard/archive-step";
import { DetailStep } from "../wizard/detail-step";
import { emptyDraft, missing, STEPS, toSpec, type Draft } from "../wizard/draft";

export default function NewPackage() {
  const { t } = useTranslation();
  const [draft, setDraft] = useState<Draft>(emptyDraft);
  const [step, setStep] = useState(0);
  const [tried, setTried] = useState(false);
  const change = (d: Partial<Draft>) => setDraft((old) => ({ ...old, ...d }));
  const titles = [t("newPackage.stepArchive"), t("newPackage.stepAction"), t("newPackage.stepDetails"), t("newPackage.stepReview")];
  const name = STEPS[step] ?? "review";
  const lacking = missing(name, draft);
  const errors = tried ? Object.fromEntries(Object.entries(lacking).map(([k, v]) => [k, t(`newPackage.${v}`)])) : {};

  const heading = useRef<HTMLHeadingElement>(null);
  const moved = useRef(false);
  useEffect(() => {
    if (moved.current) heading.current?.focus();
    moved.current = true;
  }, [step]);

  const go = (to: number) => {
    setTried(false);
    setStep(to);
  };
  const next = () => {
    if (Object.keys(lacking).length > 0) setTried(true);
    else go(step + 1);
  };
  return (
    <Page title={t("newPackage.title")} parent={{ to: "/packages", label: t("packages.title") }}>
      <Stepper maw={820} active={step} size="sm" visibleFrom="sm" onStepClick={(i) => i < step && go(i)} allowNextStepsSelect={false} aria-label={t("newPackage.title")}>
        {titles.map((title) => <Stepper.Step key={title} label={title} />)}
      </Stepper>
      <Card withBorder maw={820}>
        <Stack>
          <Title order={2} size="h4" ref={heading} tabIndex={-1} style={{ outline: "none" }}>
            {t("newPackage.stepOf", { step: step + 1, total: STEPS.length, title: titles[step] })}
          </Title>
          {name === "archive" && <ArchiveStep draft={draft} change={change} error={errors.upload} />}
          {name === "action" && <ActionStep draft={draft} change={change} errors={errors} />}
          {name === "details" && <DetailStep draft={draft} change={change} errors={errors} />}
          {name === "review" ? (
            <Review draft={draft} onBack={() => go(step - 1)} />
          ) : (
            <Group justify="space-between">
              {step > 0 ? <Button variant="default" onClick={() => go(step - 1)}>{t("common.back")}</Button> : <span />}
              <Button onClick={next}>{t("common.next")}</Button>
            </Group>
          )}
        </Stack>
      </Card>
    </Page>
  );
}

function Review({ draft, onBack }: { draft: Draft; onBack: () => void }) {
  const { t } = useTranslation();
  const client = useQueryClient();
  const navigate = useNavigate();
  const [sign, setSign] = useState(true);
  const server = useQuery({ queryKey: keys.server, queryFn: api.server });
  const canSign = server.data?.server_can_sign ?? false;
  const spec = toSpec(draft);
  const label = `${spec.name} ${spec.version}`;
  const archive = draft.upload?.archive;

  const create = useMutation({
    mutationFn: async () => {
      const pack = await api.createPackage(spec);
      if (!canSign || !sign) return { pack, ready: false };
      try {
        await api.signPackage(pack.id);
        return { pack: await api.activatePackage(pack.id), ready: true };
      } catch (err) {
        // The draft exists; its page offers the remaining steps.
        notifyProblem(new Error(t("newPackage.halfway", { message: messageOf(err) })));
        return { pack, ready: undefined };
      }
    },
    onSuccess: async ({ pack, ready }) => {
      if (ready !== undefined) notifyDone(ready ? t("newPackage.created", { name: label }) : t("newPackage.draftCreated", { name: label }));
      await client.invalidateQueries({ queryKey: ["packages"] });
      await navigate(`/packages/${pack.id}`);
    },
  });
  return (
    <>
      <Text size="sm">{t("newPackage.reviewHint")}</Text>
      <Title order={3} size="h4" className="breakable">{label}</Title>
      <InstructionFacts pack={{ ...spec, ...(archive ? { archive } : {}) }} />
      {canSign ? (
        <Checkbox label={t("newPackage.signNow")} description={t("newPackage.signNowHint")} checked={sign} onChange={(e) => setSign(e.currentTarget.checked)} />
      ) : (
        server.data && <Alert color="yellow">{t("newPackage.cannotSign")} <Code>muster package sign --key FILE --archive FILE {`${spec.name}@${spec.version}`}</Code></Alert>
      )}
      <ProblemAlert error={create.error} />
      <Group justify="space-between">
        <Button variant="default" onClick={onBack}>{t("common.back")}</Button>
        <Button onClick={() => create.mutate()} loading={create.isPending} disabled={server.isPending}>{canSign && sign ? t("newPackage.createSigned") : t("newPackage.createDraft")}</Button>
      </Group>
    </>
  );
}
