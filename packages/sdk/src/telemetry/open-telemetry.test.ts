import { AsyncLocalStorage } from 'node:async_hooks'
import { readdirSync, readFileSync } from 'node:fs'
import {
  context,
  createContextKey,
  createTraceState,
  metrics,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  type BatchObservableResult,
  type Context,
  type MeterProvider,
  type Span as OtelSpan,
  type SpanOptions,
  type TracerProvider,
} from '@opentelemetry/api'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Message } from '../message/message.ts'
import { ATTRIBUTE, METRIC, OPERATION, operationTypeOf, spanName, systemOf, unitOf } from './conventions.ts'
import { openTelemetry } from './open-telemetry.ts'

interface Told {
  readonly name: string
  readonly options: SpanOptions
  readonly parent: string | undefined
  readonly attributes: Record<string, unknown>
  status?: unknown
  exceptions: unknown[]
  ended: boolean
}

/** An SDK for OpenTelemetry that only remembers what it is told. */
function remembering() {
  const spans: Told[] = []
  const values: [kind: string, name: string, options: unknown, value: number, attributes: unknown][] = []
  const observers: { callback: (result: BatchObservableResult) => unknown; names: string[] }[] = []
  const storage = new AsyncLocalStorage<Context>()
  context.setGlobalContextManager({
    active: () => storage.getStore() ?? ROOT_CONTEXT,
    with: (active, work, self, ...more) => storage.run(active, () => work.call(self as never, ...more)),
    bind: (_, target) => target,
    enable: () => context as never,
    disable: () => context as never,
  })
  trace.setGlobalTracerProvider({
    getTracer: () => ({
      startSpan(name: string, options: SpanOptions = {}) {
        const parent = options.root === true ? undefined : trace.getSpanContext(context.active())?.spanId
        const told: Told = {
          name,
          options,
          parent,
          attributes: { ...options.attributes },
          exceptions: [],
          ended: false,
        }
        spans.push(told)
        const spanId = String(spans.length).padStart(16, '0')
        return {
          spanContext: () => ({ traceId: 'a'.repeat(32), spanId, traceFlags: 1, traceState: createTraceState('v=1') }),
          setAttribute: (key: string, value: unknown) => void (told.attributes[key] = value),
          setAttributes: (more: object) => void Object.assign(told.attributes, more),
          recordException: (error: unknown) => void told.exceptions.push(error),
          setStatus: (status: unknown) => void (told.status = status),
          end: () => void (told.ended = true),
        } as unknown as OtelSpan
      },
    }),
  } as unknown as TracerProvider)
  const instrument = (kind: string) => (name: string, options: unknown) => {
    const note = (value: number, attributes: unknown) => void values.push([kind, name, options, value, attributes])
    return { name, add: note, record: note }
  }
  metrics.setGlobalMeterProvider({
    getMeter: () => ({
      createCounter: instrument('counter'),
      createHistogram: instrument('histogram'),
      createObservableGauge: (name: string) => ({ name }),
      addBatchObservableCallback: (callback: never, gauges: { name: string }[]) =>
        observers.push({ callback, names: gauges.map(({ name }) => name) }),
      removeBatchObservableCallback: (callback: unknown) =>
        void observers.splice(
          observers.findIndex((each) => each.callback === callback),
          1,
        ),
    }),
  } as unknown as MeterProvider)
  /** What somebody sees who collects now. */
  const collect = async () => {
    const seen: unknown[] = []
    const result = {
      observe: (gauge: { name: string }, value: number, more: unknown) => seen.push([gauge.name, value, more]),
    }
    for (const { callback } of observers) await callback(result as unknown as BatchObservableResult)
    return seen
  }
  return { spans, values, collect }
}

afterEach(() => {
  context.disable()
  trace.disable()
  metrics.disable()
  vi.doUnmock('@opentelemetry/api')
})

const message = (traceparent: string | undefined): Message => ({
  id: 'm',
  kind: 'event',
  type: 'ticket.submitted',
  version: 1,
  source: 's',
  time: 0,
  key: null,
  keySeq: null,
  contentType: 'application/json',
  body: new Uint8Array(),
  metadata: { correlationId: 'm', ...(traceparent === undefined ? {} : { traceparent }) },
})

describe('spans', () => {
  test('are linked to the senders of their messages, and are children of none of them', async () => {
    const { spans } = remembering()
    const telemetry = await openTelemetry()
    const traced = message(`00-${'b'.repeat(32)}-${'c'.repeat(16)}-01`)
    telemetry.span('process ticket.submitted', 'consumer', {}, [traced, message(undefined), message('nonsense')])
    expect(spans[0]!.parent).toBeUndefined()
    expect(spans[0]!.options.links).toEqual([
      {
        context: { traceId: 'b'.repeat(32), spanId: 'c'.repeat(16), traceFlags: 1, isRemote: true },
        attributes: { [ATTRIBUTE.messageId]: 'm' },
      },
    ])
  })

  test('of what was sent by others are children of nothing, whatever is current, and so is what happens within them', async () => {
    const { spans } = remembering()
    const telemetry = await openTelemetry()
    const baggage = createContextKey('whose')
    await context.with(context.active().setValue(baggage, 'somebody'), () =>
      telemetry.within(telemetry.span('request of somebody', 'server', {}, []), async () => {
        const handling = telemetry.span('process ticket.submitted', 'consumer', {}, [message(undefined)])
        await telemetry.within(handling, async () => {
          telemetry.span('child', 'client', {}, [])
          expect(context.active().getValue(baggage)).toBeUndefined()
        })
      }),
    )
    expect(spans.map(({ name, parent }) => [name, parent])).toEqual([
      ['request of somebody', undefined],
      ['process ticket.submitted', undefined],
      ['child', '2'.padStart(16, '0')],
    ])
  })

  test('are what is current within them, for messages and for whatever else is traced', async () => {
    const { spans } = remembering()
    const telemetry = await openTelemetry()
    const outer = telemetry.span('outer', 'consumer', {}, [])
    await telemetry.within(outer, async () => {
      await Promise.resolve()
      expect(telemetry.current()).toEqual({ traceparent: outer.traceparent, tracestate: 'v=1' })
      telemetry.span('inner', 'producer', {}, [])
    })
    expect(outer.traceparent).toBe(`00-${'a'.repeat(32)}-0000000000000001-01`)
    expect(spans[1]!.parent).toBe('0000000000000001')
    expect(telemetry.current()).toEqual({})
  })

  test('say what they failed with', async () => {
    const { spans } = remembering()
    const telemetry = await openTelemetry()
    const span = telemetry.span('a', 'internal', {}, [])
    span.set({ [ATTRIBUTE.attempt]: 2 })
    span.end(new TypeError('broken'))
    expect(spans[0]).toMatchObject({
      attributes: { [ATTRIBUTE.errorType]: 'TypeError', [ATTRIBUTE.attempt]: 2 },
      status: { code: SpanStatusCode.ERROR, message: 'broken' },
      ended: true,
    })
    telemetry.span('b', 'internal', {}, []).end()
    expect(spans[1]).toMatchObject({ exceptions: [], ended: true })
    expect(spans[1]!.status).toBeUndefined()
  })
})

describe('metrics', () => {
  test('have one instrument for each name, with its unit', async () => {
    const { values } = remembering()
    const telemetry = await openTelemetry()
    telemetry.count(METRIC.inboxDuplicates, 2, { a: 1 })
    telemetry.record(METRIC.outboxLag, 0.5, {})
    expect(values).toEqual([
      ['counter', METRIC.inboxDuplicates, { unit: '{message}' }, 2, { a: 1 }],
      ['histogram', METRIC.outboxLag, { unit: 's', advice: expect.anything() }, 0.5, {}],
    ])
  })

  test('that are read on demand are left out while they cannot be read, and when they are over', async () => {
    const { collect } = remembering()
    const telemetry = await openTelemetry()
    let down = false
    const end = telemetry.gauge(METRIC.outboxPending, async () => {
      if (down) throw new Error('down')
      return [{ value: 3, attributes: {} }]
    })
    expect(await collect()).toEqual([[METRIC.outboxPending, 3, {}]])
    down = true
    expect(await collect()).toEqual([])
    end()
    down = false
    expect(await collect()).toEqual([])
  })
})

test('without anybody who listens nothing is traced, and everything works', async () => {
  const telemetry = await openTelemetry()
  const span = telemetry.span('a', 'internal', {}, [message(`00-${'b'.repeat(32)}-${'c'.repeat(16)}-01`)])
  expect(span.traceparent).toBeUndefined()
  expect(await telemetry.within(span, async () => 7)).toBe(7)
  telemetry.count(METRIC.sent, 1, {})
  span.end()
})

test('a package that cannot be loaded is told, with what to install', async () => {
  vi.doMock('@opentelemetry/api', () => {
    throw new Error('it fits another Node')
  })
  await expect(openTelemetry()).rejects.toMatchObject({
    code: 'peer_unusable',
    message: expect.stringContaining('npm install @opentelemetry/api'),
  })
})

describe('names', () => {
  test('of operations give spans and classes', () => {
    expect(spanName(OPERATION.process, 'ticket.closed')).toBe('process ticket.closed')
    expect(Object.values(OPERATION).map(operationTypeOf)).toEqual(['create', 'send', 'process', 'send', 'process'])
    expect(['amqp', 'sqs', 'embedded', 'memory'].map(systemOf)).toEqual(['rabbitmq', 'aws_sqs', 'stathmos', 'memory'])
  })

  const page = readFileSync(new URL('../../../../docs/sdk/operations.md', import.meta.url), 'utf8')
  test('of all metrics are rows of docs/sdk/operations.md, with their units', () => {
    const rows = [...page.matchAll(/^\| `([a-z_.]+)` \| [a-z ]+ \| ([^ |]+) \|/gm)].map(([, name, unit]) => [
      name,
      unit,
    ])
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(Object.values(METRIC).map((name) => [name, unitOf(name)])),
    )
  })

  test('of all metrics are told by somebody', () => {
    const source = new URL('..', import.meta.url)
    const told = readdirSync(source, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
      .map((path) => readFileSync(new URL(path, source), 'utf8'))
      .join('\n')
    expect(Object.keys(METRIC).filter((name) => !new RegExp(`METRIC\\.${name}\\b`).test(told))).toEqual([])
  })

  test('in the alert rules are names of metrics', () => {
    const rules = readFileSync(new URL('../../../../docs/sdk/alerts.yaml', import.meta.url), 'utf8')
    const used = new Set([...rules.matchAll(/\b(?:stathmos_sdk|messaging)_[a-z_]+/g)].map(([name]) => name))
    const known = Object.values(METRIC).flatMap((metric) => {
      const name = metric.replaceAll('.', '_')
      const timed = unitOf(metric) === 's' ? `${name}_seconds` : name
      return [timed, `${timed}_total`, `${timed}_bucket`, `${timed}_count`, `${timed}_sum`]
    })
    const labels = Object.values(ATTRIBUTE).map((attribute) => attribute.replaceAll('.', '_'))
    expect(used.size).toBeGreaterThan(8)
    expect([...used].filter((name) => !known.includes(name) && !labels.includes(name))).toEqual([])
  })
})
