import type { ExchangeDefinition, Queue, QueueDefinition, QueueSettings, VHost } from '@stathmos/engine'
import type { Ledger, QueueNature } from '@stathmos/testkit'

interface QueuePlan {
  readonly nature: QueueNature
  readonly settings?: Partial<QueueSettings>
}

const DURABLE: QueueNature = { durable: true, deadLettersTo: null }
const DYING: QueueNature = { durable: true, deadLettersTo: 'dead' }

/** Failed attempts that a message of the queue `limited` survives. */
export const DELIVERY_LIMIT = 2

/** One queue for every way in which a message can come and go. */
const QUEUES: Readonly<Record<string, QueuePlan>> = {
  plain: { nature: DURABLE },
  mortal: { nature: DYING },
  passing: { nature: { durable: false, deadLettersTo: null } },
  ranked: { nature: DURABLE, settings: { priorityMax: 3 } },
  ageing: { nature: DYING, settings: { messageTtlMs: 60 } },
  short: { nature: DYING, settings: { lengthMax: 4 } },
  'short-too': { nature: DYING, settings: { lengthMax: 3 } },
  limited: { nature: DYING, settings: { deliveryLimit: DELIVERY_LIMIT } },
  refusing: { nature: DYING, settings: { lengthMax: 4, overflow: 'reject-dead-letter' } },
  full: { nature: DURABLE, settings: { lengthMax: 6, overflow: 'reject' } },
  later: { nature: { ...DURABLE, unordered: true } },
  dead: { nature: { ...DURABLE, unordered: true } },
}

/** Queues that come and go. */
export const CHURNING = ['churn-0', 'churn-1', 'churn-2']

export const RANKS = 4

const EXCHANGES: readonly ExchangeDefinition[] = [
  exchange('wide', false),
  exchange('deaths', false),
  exchange('tomorrow', true),
  exchange('tidings', false),
]

const BINDINGS: readonly (readonly [string, string])[] = [
  ['wide', 'plain'],
  ['wide', 'mortal'],
  ['wide', 'passing'],
  ['deaths', 'dead'],
  ['tomorrow', 'later'],
]

/** Names of the queues that a message published to the exchange comes to. */
export const WIDE_QUEUES = ['plain', 'mortal', 'passing']

export function queueDefinition(name: string): QueueDefinition {
  const { nature, settings } = QUEUES[name] ?? { nature: DURABLE }
  const dies = nature.deadLettersTo === null ? {} : { deadLetterExchange: 'deaths' }
  return {
    name,
    durable: nature.durable,
    exclusive: false,
    autoDelete: false,
    settings: { overflow: 'drop-head', ...settings, ...dies },
    opaque: '',
  }
}

export const STANDARD_EXCHANGES: readonly ExchangeDefinition[] = [{ ...exchange('', false), type: 'direct' }]

/** Declares what every run has; what is there already stays. */
export function declareAll(vhost: VHost): void {
  for (const definition of EXCHANGES) vhost.declareExchange(definition)
  for (const name of Object.keys(QUEUES)) vhost.declareQueue(queueDefinition(name), null)
  for (const [source, name] of BINDINGS) vhost.bind(source, { kind: 'queue', name }, '')
}

export function openAccounts(ledger: Ledger): void {
  for (const [name, { nature }] of Object.entries(QUEUES)) ledger.queue(name, nature)
  for (const name of CHURNING) ledger.queue(name, DURABLE)
}

/** The lane that a message of this priority has in the queue. */
export function laneOf(queue: string, priority: number): number {
  return queue === 'ranked' ? Math.min(priority, RANKS - 1) : 0
}

/** All queues, those first that others may still die from. */
export function inOrderOfDeath(vhost: VHost): Queue[] {
  return [...vhost.queues()].sort((a, b) => Number(a.name === 'dead') - Number(b.name === 'dead'))
}

function exchange(name: string, delayed: boolean): ExchangeDefinition {
  return { name, type: 'fanout', durable: true, autoDelete: false, internal: false, delayed, opaque: '' }
}
