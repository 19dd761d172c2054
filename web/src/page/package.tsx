import { Alert, Anchor, Button, Card, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { Link, useNavigate, useParams } from "react-router";
import { api } from "../api/client";
import { keys, usePaged } from "../api/query";
import type { Package } from "../api/types";
import { useAct } from "../component/act";
import { PackageBadge } from "../component/badge";
import { confirm } from "../component/confirm";
import { CopyBlock } from "../component/copy";
import { DeploymentTable } from "../component/deployment-table";
import { DeploymentIcon } from "../component/icon";
import { InstructionFacts, SignatureFacts } from "../component/instruction";
import { Loaded } from "../component/loaded";
import { Empty, Page } from "../component/page";
import { signatureOf, signCommand } from "../signature";
import { AssignDialog } from "./assign";

export default function PackagePage() {
  const { t } = useTranslation();
  const id = useParams().id ?? "";
  const pack = useQuery({ queryKey: keys.one("packages", id), queryFn: () => api.package(id) });
  return <Loaded query={pack} parent={{ to: "/packages", label: t("packages.title") }}>{(p) => <Detail pack={p} />}</Loaded>;
}

function Detail({ pack }: { pack: Package }) {
  const { t } = useTranslation();
  const [assigning, assign] = useDisclosure();
  const deployments = usePaged("deployments", api.deployments, { package_id: pack.id }, 20);
  const name = `${pack.name} ${pack.version}`;
  return (
    <Page title={name} badge={<PackageBadge state={pack.state} />} parent={{ to: "/packages", label: t("packages.title") }} actions={<Actions pack={pack} onAssign={assign.open} />}>
      <SignatureHint pack={pack} />
      <Counts pack={pack} />
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Card withBorder>
          <Title order={2} size="h3" mb="sm">{t("package.instruction")}</Title>
          <InstructionFacts pack={pack} />
        </Card>
        <Card withBorder>
          <Title order={2} size="h3" mb="sm">{t("package.signature")}</Title>
          <SignatureFacts pack={pack} />
        </Card>
      </SimpleGrid>
      <Stack gap="sm">
        <Title order={2} size="h3">{t("package.deployments")}</Title>
        <DeploymentTable
          page={deployments}
          without="package"
          empty={
            <Empty
              icon={<DeploymentIcon size={32} />}
              title={t("package.noDeployments")}
              hint={pack.state === "active" ? t("package.noDeploymentsActive") : pack.state === "draft" ? t("package.noDeploymentsDraft") : undefined}
              action={pack.state === "active" && <Button onClick={assign.open}>{t("package.assign")}</Button>}
            />
          }
        />
      </Stack>
      <AssignDialog pack={pack} opened={assigning} onClose={assign.close} />
    </Page>
  );
}

function Actions({ pack, onAssign }: { pack: Package; onAssign: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const server = useQuery({ queryKey: keys.server, queryFn: api.server });
  const stale = ["packages", "deployments"];
  const sign = useAct(() => api.signPackage(pack.id), stale, () => t("package.signedToast"));
  const activate = useAct(() => api.activatePackage(pack.id), stale, () => t("package.activatedToast"));
  const retire = useAct(() => api.retirePackage(pack.id), stale, () => t("package.retiredToast"));
  const remove = useAct(
    async () => {
      await api.deletePackage(pack.id);
      await navigate("/packages");
    },
    [],
    () => t("package.deletedToast"),
  );
  const name = `${pack.name} ${pack.version}`;
  const askRetire = () => confirm({ title: t("package.retireTitle", { name }), text: t("package.retireText"), action: t("package.retire"), onConfirm: () => retire.mutate() });
  const trust = useQuery({ queryKey: keys.trust, queryFn: api.trust });
  const revoke = useAct(() => api.revokeInstruction(pack.id), [...stale, "trust"], () => t("package.revokedToast"));
  const askRevoke = () => confirm({ title: t("package.revokeTitle", { name }), text: t("package.revokeText"), action: t("package.revoke"), onConfirm: () => revoke.mutate() });
  const signature = signatureOf(pack);
  const revocable = trust.data?.root_on_server && signature !== "revoked";
  const askDelete = () => confirm({ title: t("package.deleteTitle"), text: t("package.deleteText"), action: t("package.deleteDraft"), onConfirm: () => remove.mutate() });
  const canSign = server.data?.server_can_sign;
  if (pack.state === "draft") {
    return (
      <>
        <Button variant="light" color="red" onClick={askDelete} loading={remove.isPending}>{t("package.deleteDraft")}</Button>
        {(signature === "none" || signature === "refused") && canSign && <Button onClick={() => sign.mutate()} loading={sign.isPending}>{t("package.sign")}</Button>}
        {signature === "good" && <Button onClick={() => activate.mutate()} loading={activate.isPending}>{t("package.activate")}</Button>}
      </>
    );
  }
  const revokeButton = revocable && <Button variant="subtle" color="red" onClick={askRevoke} loading={revoke.isPending}>{t("package.revoke")}</Button>;
  if (pack.state !== "active") return <>{revokeButton}</>;
  return (
    <>
      {revokeButton}
      <Button variant="light" color="red" onClick={askRetire} loading={retire.isPending}>{t("package.retire")}</Button>
      {canSign && signature !== "revoked" && <Button variant="default" onClick={() => sign.mutate()} loading={sign.isPending}>{t("package.signAgain")}</Button>}
      <Button onClick={onAssign}>{t("package.assign")}</Button>
    </>
  );
}

/** SignatureHint says what is still to do until devices take the package. */
function SignatureHint({ pack }: { pack: Package }) {
  const { t } = useTranslation();
  const server = useQuery({ queryKey: keys.server, queryFn: api.server });
  const draft = pack.state === "draft";
  const signature = signatureOf(pack);
  if (pack.state === "retired" || (!draft && signature === "good")) return null;
  if (signature === "revoked") {
    return (
      <Alert color="red" title={t("package.revokedTitle")}>
        <Text size="sm">{t("package.revokedText")}</Text>
      </Alert>
    );
  }
  const byAuthor = signature === "collecting" || (signature !== "good" && server.data?.server_can_sign === false);
  const collected = { have: pack.partial?.signed_by?.length ?? 0, needed: pack.partial?.needed ?? 0 };
  const text = {
    good: t("package.draftSigned"),
    collecting: t("package.collectingText", collected),
    refused: byAuthor ? t("package.refusedByAuthor") : t("package.refusedText"),
    none: byAuthor ? t("package.draftCannotSign") : t("package.draftUnsigned"),
  }[signature];
  return (
    <Alert color={signature === "refused" ? "red" : "yellow"} title={signature === "refused" ? t("package.refusedTitle") : signature === "collecting" ? t("package.collectingTitle", collected) : t("package.draftTitle")}>
      <Stack gap="xs">
        <Text size="sm">{text}</Text>
        {byAuthor && <CopyBlock value={signCommand(pack)} label={t("package.sign")} />}
      </Stack>
    </Alert>
  );
}

function Counts({ pack }: { pack: Package }) {
  const { t } = useTranslation();
  const d = pack.deployments;
  if (!d?.total) return null;
  const cells = [
    [t("package.total"), d.total, ""],
    [t("package.open"), d.open, "&open=true"],
    [t("package.succeeded"), d.succeeded, "&state=succeeded"],
    [t("package.failed"), d.failed, "&state=failed"],
  ] as const;
  return (
    <SimpleGrid cols={{ base: 2, sm: 4 }}>
      {cells.map(([label, n, filter]) => (
        <Card withBorder key={label} padding="sm">
          <Text size="sm" c="dimmed">{label}</Text>
          <Anchor component={Link} to={`/deployments?package_id=${pack.id}${filter}`} size="xl" fw={700} aria-label={`${label}: ${n}`}>{n}</Anchor>
        </Card>
      ))}
    </SimpleGrid>
  );
}

