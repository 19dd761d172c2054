import { Badge } from "@mantine/core";
import { useTranslation } from "react-i18next";
import type { Task } from "../api/types";
import { updateColor, updateOutcomes } from "../state";
import { DeploymentBadge } from "./badge";

/** UpdateText says from which agent to which: "1.0.0 → 1.1.0", as far as it is known. */
export function UpdateText({ task }: { task: Task }) {
  const { t } = useTranslation();
  const { version, result } = task.update ?? {};
  return <>{result ? t("update.fromTo", { from: result.from, to: result.to }) : t("update.to", { version })}</>;
}

/** UpdateBadge says which agent runs after an update that is over, else how the update stands. */
export function UpdateBadge({ task }: { task: Task }) {
  const { t } = useTranslation();
  const outcome = updateOutcomes.find((o) => o === task.update?.result?.outcome);
  if (!outcome) return <DeploymentBadge state={task.state} />;
  return <Badge variant="light" color={updateColor(outcome)} tt="none">{t(`update.outcome_${outcome}`)}</Badge>;
}
