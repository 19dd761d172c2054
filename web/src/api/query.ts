import { QueryCache, QueryClient, keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import type { Query } from "./client";
import { isUnauthenticated, worthRetrying } from "./error";
import type { Me, Page } from "./types";

/** Keys of the query cache. The first word is what live events invalidate. */
export const keys = {
  me: ["me"] as const,
  server: ["server"] as const,
  trust: ["trust"] as const,
  list: (kind: string, ...rest: unknown[]) => [kind, "list", ...rest] as const,
  one: (kind: string, id: string) => [kind, "one", id] as const,
};

export function newQueryClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      // An ended session shows the sign-in page, whichever request noticed it.
      onError: (err) => {
        if (isUnauthenticated(err)) client.setQueryData(keys.me, null);
      },
    }),
    defaultOptions: {
      queries: { retry: (count, err) => count < 2 && worthRetrying(err), staleTime: 10_000 },
      mutations: { retry: false },
    },
  });
  return client;
}

export interface Paged<T> {
  items: T[];
  isPending: boolean;
  isFetching: boolean;
  error: Error | null;
  refetch: () => void;
  number: number;
  searchedUntil?: string;
  previous?: () => void;
  next?: () => void;
}

/**
 * usePaged reads one page of a list at a time. The server pages by key, so the way back is the stack
 * of cursors; a change of the filters starts again at the first page.
 * Lists of one kind that belong to different things name the thing after the kind. With everyMs the page is
 * read again and again, where no live event says when; with forget it is read anew whenever it is come back to.
 */
export function usePaged<T>(
  kind: string | readonly [kind: string, ...scope: string[]],
  fetchPage: (query: Query, signal?: AbortSignal) => Promise<Page<T>>,
  filters: Query = {},
  limit = 50,
  { everyMs, forget }: { everyMs?: number; forget?: boolean } = {},
): Paged<T> {
  const [name, ...of] = typeof kind === "string" ? [kind] : kind;
  const scope = JSON.stringify([of, filters]);
  const [trail, setTrail] = useState<{ scope: string; cursors: string[] }>({ scope, cursors: [] });
  const cursors = trail.scope === scope ? trail.cursors : [];
  const cursor = cursors[cursors.length - 1];
  const query = useQuery({
    queryKey: keys.list(name, ...of, filters, limit, cursor ?? ""),
    queryFn: ({ signal }) => fetchPage({ ...filters, limit, cursor }, signal),
    placeholderData: keepPreviousData,
    refetchInterval: everyMs,
    ...(forget ? { gcTime: 0 } : {}),
  });
  const next = query.data?.next;
  return {
    items: query.data?.items ?? [],
    isPending: query.isPending,
    isFetching: query.isFetching,
    error: query.error,
    refetch: () => void query.refetch(),
    number: cursors.length + 1,
    searchedUntil: query.data?.searched_until,
    previous: cursors.length > 0 ? () => setTrail({ scope, cursors: cursors.slice(0, -1) }) : undefined,
    next: next ? () => setTrail({ scope, cursors: [...cursors, next] }) : undefined,
  };
}

/** whole is a list that is there as a whole. */
export function whole<T>(items: T[]): Paged<T> {
  return { items, isPending: false, isFetching: false, error: null, refetch: () => {}, number: 1 };
}

/** switchUser forgets all that the one before could see; null shows the sign-in page. */
export function switchUser(client: QueryClient, me: Me | null): void {
  // The query of "me" itself stays: the shell watches it.
  client.removeQueries({ predicate: (q) => q.queryKey[0] !== keys.me[0] });
  client.setQueryData(keys.me, me);
}
