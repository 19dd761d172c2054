import { Skeleton, Stack } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useTranslation } from "react-i18next";
import { Page } from "./page";
import { ProblemAlert } from "./problem";

interface LoadedProps<T> {
  query: UseQueryResult<T>;
  parent?: { to: string; label: string };
  children: (data: T) => ReactNode;
}

/** Loaded shows a page's place until its one object is there, or why it is not. */
export function Loaded<T>({ query, parent, children }: LoadedProps<T>) {
  const { t } = useTranslation();
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) {
    return (
      <Page title={t("common.problem")} parent={parent}>
        <ProblemAlert error={query.error} onRetry={() => void query.refetch()} />
      </Page>
    );
  }
  return (
    <Stack role="status" aria-label={t("common.loading")} gap="lg">
      <Skeleton height={36} maw={320} mt={24} />
      <Skeleton height={260} />
      <Skeleton height={180} />
    </Stack>
  );
}
