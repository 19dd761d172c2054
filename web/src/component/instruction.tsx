import { Code, List } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useTranslation } from "react-i18next";
import { api } from "../api/client";
import { keys } from "../api/query";
import type { Detection, Package, PackageSpec } from "../api/types";
import { bytes, commandLine, isSet, span } from "../format";
import { outcomes } from "../state";
import { Copyable } from "./copy";
import { Fact, Facts } from "./facts";
import { Time } from "./time";

type Described = Omit<PackageSpec, "upload_id"> & Pick<Partial<Package>, "archive">;

/** InstructionFacts says in words what a package does; the wizard's review and a package's page share it. */
export function InstructionFacts({ pack }: { pack: Described }) {
  const { t, i18n } = useTranslation();
  const env = Object.entries(pack.env ?? {});
  const { os = [], arch = [] } = pack.requires ?? {};
  return (
    <Facts>
      <Fact label={t("packages.action")}>{t(`packages.action_${pack.action}`)}</Fact>
      <Fact label={t("packages.priority")}>{pack.priority}</Fact>
      <Fact label={t("package.command")}>{pack.command?.length ? <Code>{commandLine(pack.command)}</Code> : undefined}</Fact>
      <Fact label={t("package.storePath")}>{pack.store_path && <Code>{pack.store_path}</Code>}</Fact>
      <Fact label={t("package.archive")}>{pack.archive ? t("package.archiveValue", { format: pack.archive.format, size: bytes(pack.archive.size, i18n.language) }) : t("package.noArchive")}</Fact>
      <Fact label={t("package.timeLimit")}>{pack.action !== "store" && pack.time_limit_seconds ? span(pack.time_limit_seconds * 1000) : undefined}</Fact>
      <Fact label={t("package.detect")}>{pack.detect && <DetectionText rule={pack.detect} />}</Fact>
      <Fact label={t("package.exitCodes")}>
        {pack.action === "store" ? undefined : pack.exit_codes?.length ? (
          <List size="sm" listStyleType="none">
            {pack.exit_codes.map((e) => (
              <List.Item key={e.code}><Code>{e.code}</Code> <Outcome name={e.outcome} /></List.Item>
            ))}
          </List>
        ) : (
          t("package.exitCodesDefault")
        )}
      </Fact>
      <Fact label={t("package.requires")}>{[...os, ...arch].join(", ")}</Fact>
      <Fact label={t("package.retry")}>{pack.retry?.attempts ? t("package.retryValue", { attempts: pack.retry.attempts, delay: span(pack.retry.delay_seconds * 1000) }) : undefined}</Fact>
      <Fact label={t("package.rerun")}>{pack.action === "store" ? undefined : pack.rerun === "safe" ? t("package.rerunSafe") : t("package.rerunNever")}</Fact>
      <Fact label={t("package.env")}>{env.length > 0 && <Code>{env.map(([k, v]) => `${k}=${v}`).join(" ")}</Code>}</Fact>
      <Fact label={t("package.cleanBoot")}>{pack.needs_clean_boot && t("common.yes")}</Fact>
      <Fact label={t("package.private")}>{pack.private && t("common.yes")}</Fact>
    </Facts>
  );
}

function Outcome({ name }: { name: string }) {
  const { t } = useTranslation();
  const known = outcomes.find((o) => o === name);
  return <>{known ? t(`newPackage.outcome_${known}`) : name}</>;
}

function DetectionText({ rule }: { rule: Detection }) {
  const { t } = useTranslation();
  if (rule.software) {
    const { name, version } = rule.software;
    return <>{version ? t("package.detectSoftwareVersion", { name, version }) : t("package.detectSoftware", { name })}</>;
  }
  if (rule.file) {
    const { path, sha256 } = rule.file;
    return <>{sha256 ? t("package.detectFileDigest", { path, sha256 }) : t("package.detectFile", { path })}</>;
  }
  return <>{t("package.detectCommand", { command: commandLine(rule.command ?? []) })}</>;
}

export function SignatureFacts({ pack }: { pack: Package }) {
  const { t } = useTranslation();
  const trust = useQuery({ queryKey: keys.trust, queryFn: api.trust });
  const serverKeys = new Set((trust.data?.keys ?? []).filter((k) => k.roles.includes("server")).map((k) => k.id));
  const signers = pack.signed_by ?? [];
  return (
    <Facts>
      <Fact label={t("package.signedBy")}>
        {signers.length === 0
          ? t("packages.notSigned")
          : signers.map((id) => (
              <div key={id}>
                {serverKeys.has(id) && t("package.thisServer")}
                <Copyable value={id} />
              </div>
            ))}
      </Fact>
      <Fact label={t("package.issued")}>{isSet(pack.issued_at) && <Time at={pack.issued_at} />}</Fact>
      <Fact label={t("common.expires")}>{isSet(pack.expires_at) && <><Time at={pack.expires_at} />. {t("package.expiresHint")}</>}</Fact>
      <Fact label={t("package.digest")}>{pack.instruction_digest && <Copyable value={pack.instruction_digest} />}</Fact>
      <Fact label={t("package.fragments")}>{pack.archive?.fragments}</Fact>
      <Fact label={t("package.sha256")}>{pack.archive && <Copyable value={pack.archive.sha256} />}</Fact>
      <Fact label={t("package.packageId")}><Copyable value={pack.id} /></Fact>
      <Fact label={t("common.created")}><Time at={pack.created_at} /></Fact>
      <Fact label={t("common.createdBy")}>{pack.created_by}</Fact>
    </Facts>
  );
}
