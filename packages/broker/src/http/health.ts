/** What the broker is doing, in the order it does it. */
export type Phase = 'starting' | 'recovering' | 'ready' | 'draining'

/** What the health endpoints look at. */
export interface Health {
  readonly phase: Phase
  /** Why publishers wait, if they do: the broker has stopped taking messages. */
  readonly blocked: string | null
}

export interface Verdict {
  readonly status: 200 | 503
  readonly text: string
}

/**
 * The answer of a health endpoint, undefined for a path that is none.
 *
 * - `/livez`: the event loop turns. Failed storage needs no answer of its own: it ends the process.
 * - `/startupz`: recovery is over.
 * - `/readyz`: clients can be sent here: recovered, every listener open, not stopping.
 */
export function healthVerdict(path: string, { phase, blocked }: Health): Verdict | undefined {
  switch (path) {
    case '/livez':
      return { status: 200, text: 'alive' }
    case '/startupz':
      return phase === 'starting' || phase === 'recovering'
        ? { status: 503, text: phase }
        : { status: 200, text: 'started' }
    case '/readyz':
      if (phase !== 'ready') return { status: 503, text: phase }
      return blocked === null ? { status: 200, text: 'ready' } : { status: 503, text: `publishers wait: ${blocked}` }
    default:
      return undefined
  }
}
