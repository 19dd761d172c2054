import { useDebouncedValue } from "@mantine/hooks";
import { useEffect, useState } from "react";
import { useLocation, useNavigation, useSearchParams } from "react-router";

/**
 * useFilters keeps a list's filters in the address, so that a filtered list can be kept and sent.
 * Empty values stand for "any".
 */
export function useFilters<K extends string>(names: readonly K[]) {
  const [params, setParams] = useSearchParams();
  const { pathname } = useLocation();
  const { state } = useNavigation();
  const values = Object.fromEntries(names.map((n) => [n, params.get(n) ?? ""])) as Record<K, string>;
  const set = (name: K, value: string) => {
    // A search that is still settling when its page is left would call back from the next page, or filter it.
    if (state !== "idle" || window.location.pathname !== pathname) return;
    setParams(
      (old) => {
        const next = new URLSearchParams(old);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  };
  const clear = () => setParams({}, { replace: true });
  const active = names.some((n) => values[n] !== "");
  return { values, set, clear, active };
}

/** useSearchText is a text filter that waits until typing pauses. */
export function useSearchText(value: string, set: (v: string) => void) {
  const [text, setText] = useState(value);
  const [settled] = useDebouncedValue(text, 250);
  useEffect(() => {
    if (settled !== value) set(settled);
    // Only a pause in typing sends; a change from outside is taken over below.
  }, [settled]);
  useEffect(() => {
    if (value === "") setText("");
  }, [value]);
  return [text, setText] as const;
}
