import { Anchor } from "@mantine/core";
import { Link } from "react-router";
import type { LogLine } from "../api/types";
import { stamp } from "../format";
import { logLevels } from "../log";
import classes from "./log-lines.module.css";

/** LogLines shows lines as a terminal would; on a device's own page its name is left out. */
export function LogLines({ label, lines, without }: { label: string; lines: LogLine[]; without?: "device" }) {
  return (
    <ol className={classes.lines} aria-label={label}>
      {lines.map((l) => (
        <li key={l.id} className={`${classes.line} ${look(l.level)}`}>
          <time className={classes.stamp} dateTime={l.time}>{stamp(l.time)}</time>
          <span className={classes.level}>{l.level.toUpperCase()}</span>
          <span>{l.task}</span>
          <span className={l.dropped ? `${classes.text} ${classes.missing}` : classes.text}>
            {!without && <><Anchor component={Link} to={`/devices/${l.device_id}/log`} inherit underline="always">{l.hostname || l.device_id}</Anchor> </>}
            {l.message}
          </span>
        </li>
      ))}
    </ol>
  );
}

function look(level: string): string | undefined {
  const known = logLevels.find((l) => l === level);
  return known && classes[known];
}
