import type * as OpenTelemetry from '@opentelemetry/api'
import type {
  Attributes as OtelAttributes,
  BatchObservableResult,
  Counter,
  Histogram,
  Link,
  Meter,
  ObservableGauge,
  Span as OtelSpan,
  SpanContext,
  SpanKind,
} from '@opentelemetry/api'
import type { Message } from '../message/message.ts'
import { loadPeer } from '../peer.ts'
import { ATTRIBUTE, errorTypeOf, SEMCONV, unitOf } from './conventions.ts'
import type { Attributes, Span, Telemetry } from './telemetry.ts'

type Api = typeof OpenTelemetry

/** Who measures. */
const SCOPE = '@stathmos/sdk'

/** Seconds: those that the semantic conventions advise for calls, and longer ones for messages that wait. */
const BOUNDARIES_S = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 300, 1800, 7200,
]

/** `version-traceid-parentid-flags` (W3C Trace Context §3.2). */
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/

/**
 * Tells OpenTelemetry what a service does: to be handed to `service` as `telemetry`. What becomes of it is up to the SDK
 * for OpenTelemetry that the program has set up before; without one it goes nowhere.
 *
 * @throws {SdkError} `peer_missing` without the package `@opentelemetry/api`, `peer_unusable`
 */
export async function openTelemetry(): Promise<Telemetry> {
  const api = await loadPeer({
    name: '@opentelemetry/api',
    what: 'traces and metrics',
    load: (): Promise<Api> => import('@opentelemetry/api'),
    needs: ['context', 'metrics', 'ROOT_CONTEXT', 'trace'],
  })
  return telemetryOf(api)
}

function telemetryOf(api: Api): Telemetry {
  const { context, metrics, trace } = api
  const schemaUrl = `https://opentelemetry.io/schemas/${SEMCONV}`
  const tracer = trace.getTracer(SCOPE)
  const instruments = new Instruments(metrics.getMeter(SCOPE, undefined, { schemaUrl }))
  const spans = new WeakMap<Span, { readonly otel: OtelSpan; readonly root: boolean }>()
  return {
    span(name, kind, attributes, links) {
      const root = links.length > 0
      const options = { kind: kindOf(api, kind), attributes: { ...attributes }, links: linksTo(api, links), root }
      const otel = tracer.startSpan(name, options)
      const span = spanOf(api, otel)
      spans.set(span, { otel, root })
      return span
    },
    within(span, work) {
      const own = spans.get(span)
      if (own === undefined) return work()
      return context.with(trace.setSpan(own.root ? api.ROOT_CONTEXT : context.active(), own.otel), work)
    },
    current() {
      const current = trace.getSpanContext(context.active())
      if (current === undefined || !api.isSpanContextValid(current)) return {}
      const tracestate = current.traceState?.serialize()
      return {
        traceparent: traceparentOf(current),
        ...(tracestate === undefined || tracestate === '' ? {} : { tracestate }),
      }
    },
    count: (name, value, attributes) => instruments.counter(name).add(value, { ...attributes }),
    record: (name, value, attributes) => instruments.histogram(name).record(value, { ...attributes }),
    gauge: (name, read) => instruments.observe(name, read),
  }
}

/** One instrument for each name, however often it is asked for. */
class Instruments {
  readonly #meter: Meter
  readonly #counters = new Map<string, Counter>()
  readonly #histograms = new Map<string, Histogram>()
  readonly #gauges = new Map<string, ObservableGauge>()

  constructor(meter: Meter) {
    this.#meter = meter
  }

  counter(name: string): Counter {
    return one(this.#counters, name, () => this.#meter.createCounter(name, { unit: unitOf(name) }))
  }

  histogram(name: string): Histogram {
    const unit = unitOf(name)
    const advice = unit === 's' ? { advice: { explicitBucketBoundaries: BOUNDARIES_S } } : {}
    return one(this.#histograms, name, () => this.#meter.createHistogram(name, { unit, ...advice }))
  }

  /** What is read while the store is away is left out: a gap in a graph is no nought. */
  observe(
    name: string,
    read: () => Promise<readonly { readonly value: number; readonly attributes: Attributes }[]>,
  ): () => void {
    const gauge = one(this.#gauges, name, () => this.#meter.createObservableGauge(name, { unit: unitOf(name) }))
    const observe = async (result: BatchObservableResult): Promise<void> => {
      const values = await read().catch(() => [])
      for (const { value, attributes } of values)
        result.observe(gauge, value, { ...attributes } satisfies OtelAttributes)
    }
    this.#meter.addBatchObservableCallback(observe, [gauge])
    return () => this.#meter.removeBatchObservableCallback(observe, [gauge])
  }
}

function one<T>(known: Map<string, T>, name: string, make: () => T): T {
  const there = known.get(name) ?? make()
  known.set(name, there)
  return there
}

function spanOf(api: Api, otel: OtelSpan): Span {
  const own = otel.spanContext()
  const valid = api.isSpanContextValid(own)
  return {
    traceparent: valid ? traceparentOf(own) : undefined,
    tracestate: valid ? own.traceState?.serialize() : undefined,
    set: (attributes) => void otel.setAttributes({ ...attributes }),
    end(error) {
      if (error !== undefined) {
        otel.setAttribute(ATTRIBUTE.errorType, errorTypeOf(error))
        const told = error instanceof Error ? error : new Error('something was thrown that is no error')
        otel.recordException(told)
        otel.setStatus({ code: api.SpanStatusCode.ERROR, message: told.message })
      }
      otel.end()
    },
  }
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
}

/** The senders' spans; of messages that were not traced there is none. */
function linksTo(api: Api, messages: readonly Message[]): Link[] {
  return messages.flatMap(({ id, metadata: { traceparent, tracestate } }) => {
    const match = TRACEPARENT.exec(traceparent ?? '')
    if (match === null) return []
    const context: SpanContext = {
      traceId: match[1]!,
      spanId: match[2]!,
      traceFlags: Number.parseInt(match[3]!, 16),
      isRemote: true,
      ...(tracestate === undefined ? {} : { traceState: api.createTraceState(tracestate) }),
    }
    return api.isSpanContextValid(context) ? [{ context, attributes: { [ATTRIBUTE.messageId]: id } }] : []
  })
}

function kindOf(api: Api, kind: Parameters<Telemetry['span']>[1]): SpanKind {
  const { CLIENT, CONSUMER, INTERNAL, PRODUCER, SERVER } = api.SpanKind
  return { client: CLIENT, consumer: CONSUMER, internal: INTERNAL, producer: PRODUCER, server: SERVER }[kind]
}
