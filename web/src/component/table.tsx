import { Box, Button, Card, Checkbox, Group, Skeleton, Stack, Table, Text } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { createColumnHelper, tableFeatures, useTable, type ColumnDef } from "@tanstack/react-table";
import { useMemo, type ReactNode } from "react";
import { useTranslation } from "react-i18next";
import type { Paged } from "../api/query";
import { ProblemAlert } from "./problem";
import classes from "./table.module.css";

export interface Column<T> {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
}

export interface Selection {
  has: (id: string) => boolean;
  toggle: (id: string, on: boolean) => void;
  label: (id: string) => string;
  /** Rows that cannot be chosen. */
  locked?: (id: string) => boolean;
}

interface DataTableProps<T extends { id: string }> {
  /** Names the table for screen readers. */
  label: string;
  page: Paged<T>;
  columns: Column<T>[];
  /** Shown when the list is empty; the page knows whether filters are the cause. */
  empty: ReactNode;
  selection?: Selection;
}

// The server filters, sorts and pages: the table needs none of the optional features.
const features = tableFeatures({});
const SKELETON_ROWS = 6;
// Links keep enough contrast on it in the dark theme, which the usual colour does not give them.
const HOVER = "light-dark(var(--mantine-color-gray-0), var(--mantine-color-dark-6))";

/** DataTable shows one page of a list: a table, or cards where the screen is narrow. */
export function DataTable<T extends { id: string }>({ label, page, columns, empty, selection }: DataTableProps<T>) {
  const narrow = useMediaQuery("(max-width: 48em)", undefined, { getInitialValueInEffect: false });
  if (page.error && page.items.length === 0) return <ProblemAlert error={page.error} onRetry={page.refetch} />;
  if (!page.isPending && page.items.length === 0 && page.number === 1) return <>{empty}</>;
  return (
    <Stack gap="sm">
      {page.error && <ProblemAlert error={page.error} onRetry={page.refetch} />}
      {page.isPending ? (
        <Loading narrow={narrow} columns={columns.length} />
      ) : narrow ? (
        <Cards label={label} rows={page.items} columns={columns} selection={selection} />
      ) : (
        <Wide label={label} rows={page.items} columns={columns} selection={selection} />
      )}
      <Pager page={page} />
    </Stack>
  );
}

type RowsProps<T> = { label: string; rows: T[]; columns: Column<T>[]; selection?: Selection };

function Wide<T extends { id: string }>({ label, rows, columns, selection }: RowsProps<T>) {
  const defs = useMemo(() => {
    const helper = createColumnHelper<typeof features, T>();
    return columns.map((c) => helper.display({ id: c.id, header: c.header, cell: (ctx) => c.cell(ctx.row.original) })) as ColumnDef<typeof features, T>[];
  }, [columns]);
  const table = useTable({ features, columns: defs, data: rows, getRowId: (row) => row.id });
  return (
    <Table.ScrollContainer minWidth={640} scrollAreaProps={{ viewportProps: { tabIndex: 0, role: "region", "aria-label": label } }}>
      <Table highlightOnHover highlightOnHoverColor={HOVER} verticalSpacing="sm" aria-label={label}>
        <Table.Thead>
          {table.getHeaderGroups().map((group) => (
            <Table.Tr key={group.id}>
              {selection && <Table.Td w={40} />}
              {group.headers.map((header) => (
                <Table.Th key={header.id} scope="col">
                  <table.FlexRender header={header} />
                </Table.Th>
              ))}
            </Table.Tr>
          ))}
        </Table.Thead>
        <Table.Tbody>
          {table.getRowModel().rows.map((row) => (
            <Table.Tr key={row.id}>
              {selection && (
                <Table.Td>
                  <Select id={row.id} selection={selection} />
                </Table.Td>
              )}
              {row.getAllCells().map((cell) => (
                <Table.Td key={cell.id} className="breakable">
                  <table.FlexRender cell={cell} />
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Cards<T extends { id: string }>({ label, rows, columns, selection }: RowsProps<T>) {
  const [first, ...rest] = columns;
  return (
    <Stack component="ul" gap="sm" className={classes.cards} aria-label={label}>
      {rows.map((row) => (
        <Card component="li" key={row.id} withBorder padding="sm">
          <Group gap="sm" wrap="nowrap" mb={6}>
            {selection && <Select id={row.id} selection={selection} />}
            <Box className="breakable" fw={600} flex={1}>{first?.cell(row)}</Box>
          </Group>
          <dl className={classes.pairs}>
            {rest.map((c) => (
              <div key={c.id} className={classes.pair}>
                <Text component="dt" size="sm" c="dimmed">{c.header}</Text>
                <Text component="dd" size="sm" className="breakable">{c.cell(row)}</Text>
              </div>
            ))}
          </dl>
        </Card>
      ))}
    </Stack>
  );
}

function Select({ id, selection }: { id: string; selection: Selection }) {
  return <Checkbox aria-label={selection.label(id)} checked={selection.has(id)} disabled={selection.locked?.(id)} onChange={(e) => selection.toggle(id, e.currentTarget.checked)} />;
}

export function Loading({ narrow, columns }: { narrow?: boolean; columns: number }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm" role="status" aria-label={t("common.loading")} data-columns={columns}>
      {Array.from({ length: SKELETON_ROWS }, (_, i) => (
        <Skeleton key={i} height={narrow ? 120 : 38} />
      ))}
    </Stack>
  );
}

export function Pager<T>({ page }: { page: Paged<T> }) {
  const { t } = useTranslation();
  if (!page.previous && !page.next) return null;
  return (
    <Group component="nav" aria-label={t("common.page", { number: page.number })} justify="flex-end" gap="sm">
      <Button variant="default" size="xs" disabled={!page.previous} onClick={page.previous}>{t("common.previousPage")}</Button>
      <Text size="sm" c="dimmed">{t("common.page", { number: page.number })}</Text>
      <Button variant="default" size="xs" disabled={!page.next} onClick={page.next}>{t("common.nextPage")}</Button>
    </Group>
  );
}
