import { useMutation, useQueryClient } from "@tanstack/react-query";
import { notifyDone, notifyProblem } from "./problem";

/**
 * useAct runs an action of a button: says that it is done or why not, and has everything that it may
 * have changed fetched again.
 */
export function useAct<T, V = void>(run: (v: V) => Promise<T>, stale: string[], done?: (t: T, v: V) => string | undefined) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: run,
    onSuccess: (result, v) => {
      const message = done?.(result, v);
      if (message) notifyDone(message);
    },
    onError: notifyProblem,
    onSettled: () => Promise.all(stale.map((kind) => client.invalidateQueries({ queryKey: [kind] }))),
  });
}
