import { Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { absolute, isSet, relative } from "../format";

/** Time shows when something was or will be, in words that stay true while the page is open. */
export function Time({ at, none }: { at?: string | null; none?: string }) {
  const { t, i18n } = useTranslation();
  const now = useNow(isSet(at) ? Date.parse(at) : 0);
  if (!isSet(at)) return <>{none ?? t("common.never")}</>;
  return (
    <Tooltip label={absolute(at, i18n.language)} openDelay={300}>
      <time dateTime={at}>{relative(at, now, i18n.language)}</time>
    </Tooltip>
  );
}

/** Fresh times are told by the second, older ones by the minute. */
function useNow(at: number): number {
  const [now, setNow] = useState(() => Date.now());
  const pace = Math.abs(now - at) < 60_000 ? 1_000 : 30_000;
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), pace);
    return () => clearInterval(timer);
  }, [pace]);
  return now;
}
