import type { Headers } from './headers.ts'
import { type History, NO_HISTORY } from './death.ts'

const EMPTY = new Uint8Array(0)
const EMPTY_VIEW = new DataView(EMPTY.buffer)

/**
 * What a sender hands in, as ranges of its own buffers. One per session, filled anew for each message:
 * the engine copies what it needs before `publish` returns and keeps no reference.
 */
export class Draft {
  /** The form of {@link origin}; 0: none. */
  originKind = 0
  /** Bytes for receivers of the same protocol, untouched and opaque to the engine. */
  origin: Uint8Array = EMPTY
  originView: DataView = EMPTY_VIEW
  originStart = 0
  originEnd = 0
  body: Uint8Array = EMPTY
  bodyView: DataView = EMPTY_VIEW
  bodyStart = 0
  bodyEnd = 0
  persistent = true
  priority = 0
  /** Time to live in ms; -1: for ever. 0: deliver at once or let it expire. */
  ttlMs = -1
  /** Delay in ms, acted on by delayed exchanges; 0: none. */
  delayMs = 0
  /** Typed headers, made only when routing asks for them. */
  headers: (() => Headers) | null = null
  /** Routing keys beside the route's own. */
  moreKeys: readonly string[] | null = null
  history: History = NO_HISTORY
}
