import { DataList } from "@mantine/core";
import { Children, type ReactNode } from "react";

/** Facts is a list of named values; a fact without a value is left out. */
export function Facts({ children }: { children: ReactNode }) {
  return <DataList labelWidth="170px" gap="xs" withDivider className="facts">{Children.toArray(children)}</DataList>;
}

export function Fact({ label, children }: { label: string; children?: ReactNode }) {
  if (children === undefined || children === null || children === "" || children === false) return null;
  return (
    <DataList.Item>
      <DataList.ItemLabel>{label}</DataList.ItemLabel>
      <DataList.ItemValue className="breakable">{children}</DataList.ItemValue>
    </DataList.Item>
  );
}
