import type { Message } from '../message/message.ts'

/** Attributes of spans and metrics: OpenTelemetry's names, see conventions.ts. */
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** Something that takes time and may fail. */
export interface Span {
  /** To be put into messages that are sent meanwhile; undefined when nothing is traced. */
  readonly traceparent: string | undefined
  readonly tracestate: string | undefined
  set(attributes: Attributes): void
  /** @param error what it failed with; nothing when it succeeded */
  end(error?: unknown): void
}

/** What a service tells about its work. The default does nothing; `openTelemetry()` speaks to the OpenTelemetry API. */
export interface Telemetry {
  /**
   * Begins a span.
   *
   * @param links messages whose senders' spans it is linked to: hours may lie between them, so it is no child of theirs, nor
   *   of what happens to be current. Without messages it is the child of the current span.
   */
  span(
    name: string,
    kind: 'producer' | 'consumer' | 'client' | 'server' | 'internal',
    attributes: Attributes,
    links: readonly Message[],
  ): Span
  /** Runs `work` with the span as the current one, so that what it calls becomes its child. */
  within<T>(span: Span, work: () => Promise<T>): Promise<T>
  /** The current span's context, for a message that is sent now. */
  current(): { readonly traceparent?: string; readonly tracestate?: string }
  /** Adds to a counter. */
  count(name: string, value: number, attributes: Attributes): void
  /** Records a duration or size in a histogram. */
  record(name: string, value: number, attributes: Attributes): void
  /** Reports a value that is read when somebody collects. Returns what ends it. */
  gauge(
    name: string,
    read: () => Promise<readonly { readonly value: number; readonly attributes: Attributes }[]>,
  ): () => void
}

const silentSpan: Span = { traceparent: undefined, tracestate: undefined, set() {}, end() {} }

/** Tells nobody anything. */
export const silentTelemetry: Telemetry = {
  span: () => silentSpan,
  within: (_, work) => work(),
  current: () => ({}),
  count() {},
  record() {},
  gauge: () => () => {},
}
