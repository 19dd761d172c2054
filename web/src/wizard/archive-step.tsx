import { Alert, Button, Checkbox, FileButton, Group, Progress, Stack, Text } from "@mantine/core";
import { useEffect, useRef, useState, type DragEvent } from "react";
import { useTranslation } from "react-i18next";
import type { Upload } from "../api/types";
import { CheckIcon, UploadIcon } from "../component/icon";
import { ProblemAlert } from "../component/problem";
import { bytes, nameAndVersion } from "../format";
import { browserMemory, httpTransport } from "../upload/transport";
import { uploadFile, type UploadStatus } from "../upload/upload";
import { likelyLaunchFile, type Draft } from "./draft";
import classes from "./wizard.module.css";

interface StepProps {
  draft: Draft;
  change: (d: Partial<Draft>) => void;
  error?: string;
}

export function ArchiveStep({ draft, change, error }: StepProps) {
  const { t } = useTranslation();
  const [file, setFile] = useState<File | null>(null);
  const take = (upload: Upload) => {
    const guess = nameAndVersion(upload.file_name);
    change({
      upload,
      uploading: false,
      launchFile: likelyLaunchFile(upload.archive?.entries ?? []),
      ...(draft.name ? {} : { name: guess.name }),
      ...(draft.version ? {} : { version: guess.version }),
    });
  };
  const choose = (f: File | null) => {
    if (!f) return;
    change({ upload: undefined, uploading: true, withoutArchive: false, launchFile: "" });
    setFile(f);
  };
  const remove = () => {
    change({ upload: undefined, uploading: false, launchFile: "" });
    setFile(null);
  };
  const drop = (e: DragEvent) => {
    e.preventDefault();
    choose(e.dataTransfer.files[0] ?? null);
  };
  return (
    <Stack>
      <div className={classes.drop} onDragOver={(e) => e.preventDefault()} onDrop={drop}>
        <Stack align="center" gap="xs">
          <UploadIcon size={32} />
          <Group gap="xs" justify="center">
            <FileButton onChange={choose} accept=".zip,.tar.gz,.tgz,application/zip,application/gzip" inputProps={{ "aria-label": t("newPackage.choose") }}>
              {(props) => <Button {...props} variant={file || draft.upload ? "default" : "filled"}>{file || draft.upload ? t("newPackage.chooseOther") : t("newPackage.choose")}</Button>}
            </FileButton>
            <Text size="sm" c="dimmed" visibleFrom="sm">{t("newPackage.dropHint")}</Text>
          </Group>
          <Text size="sm" c="dimmed" ta="center">{t("newPackage.chooseHint")}</Text>
        </Stack>
      </div>
      {draft.upload ? <Finished upload={draft.upload} /> : file && <Sending key={`${file.name}${file.size}${file.lastModified}`} file={file} onFinished={take} />}
      {(draft.upload || file) && (
        <div>
          <Button size="xs" variant="default" onClick={remove}>{t("newPackage.removeFile")}</Button>
        </div>
      )}
      <Checkbox
        label={t("newPackage.noArchive")}
        checked={draft.withoutArchive}
        disabled={!!draft.upload || !!file}
        onChange={(e) => change({ withoutArchive: e.currentTarget.checked, action: e.currentTarget.checked ? "execute" : "launch" })}
      />
      {error && <Text role="alert" size="sm" c="var(--mantine-color-error)">{error}</Text>}
    </Stack>
  );
}

function Finished({ upload }: { upload: Upload }) {
  const { t, i18n } = useTranslation();
  return (
    <Alert color="teal" icon={<CheckIcon />} title={upload.file_name} role="status">
      {t("newPackage.finished", { size: bytes(upload.size, i18n.language), entries: upload.archive?.entries_total ?? 0 })}
    </Alert>
  );
}

/** Sending uploads its file while it is shown; leaving the page stops it, and the file can go on later. */
function Sending({ file, onFinished }: { file: File; onFinished: (u: Upload) => void }) {
  const { t, i18n } = useTranslation();
  const [status, setStatus] = useState<UploadStatus>({ phase: "sending", sent: 0, size: file.size, resumedAt: 0 });
  const [error, setError] = useState<unknown>();
  const [round, setRound] = useState(0);
  const finished = useRef(onFinished);
  finished.current = onFinished;

  useEffect(() => {
    const stop = new AbortController();
    setError(undefined);
    uploadFile(file, { transport: httpTransport, memory: browserMemory, onStatus: setStatus, signal: stop.signal }).then(
      (u) => !stop.signal.aborted && finished.current(u),
      (err: unknown) => !stop.signal.aborted && setError(err),
    );
    return () => stop.abort();
  }, [file, round]);

  const size = (n: number) => bytes(n, i18n.language);
  const words = {
    sending: t("newPackage.sending", { sent: size(status.sent), size: size(status.size) }),
    waiting: t("newPackage.waiting"),
    checking: t("newPackage.checking"),
    finished: t("newPackage.checking"),
  }[status.phase];
  return (
    <Stack gap={6}>
      <Text size="sm" fw={600} className="breakable">{file.name}</Text>
      <Progress value={file.size > 0 ? (100 * status.sent) / file.size : 100} color={status.phase === "waiting" ? "yellow" : undefined} animated={status.phase === "checking"} aria-label={t("newPackage.progress")} size="lg" />
      <Text size="sm" role="status">{words} {status.resumedAt > 0 && t("newPackage.resumed", { size: size(status.resumedAt) })}</Text>
      {error !== undefined && (
        <>
          <ProblemAlert title={t("newPackage.uploadFailed")} error={error} />
          <div><Button size="xs" variant="default" onClick={() => setRound(round + 1)}>{t("newPackage.retryUpload")}</Button></div>
        </>
      )}
    </Stack>
  );
}
