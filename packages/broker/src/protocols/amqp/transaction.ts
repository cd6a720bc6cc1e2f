import type { Draft, Route, Transaction } from '@stathmos/engine'
import { REPLY } from '@stathmos/wire/amqp'

import type { ChannelScope } from './channel-scope.ts'
import type { Deliveries, SettleAs } from './deliveries.ts'
import { Refusal } from './errors.ts'
import type { PublishLater, Publishing } from './publishing.ts'
import type { DeliverySource } from './unacked.ts'

/** A mandatory publish, kept until its outcome is known. */
interface Mandatory {
  /** Which of the transaction's publishes it is. */
  readonly index: number
  readonly route: Route
  readonly draft: Draft
}

/** The transactional side of a channel: what it publishes and settles takes effect at commit, all in one frame. */
export class AmqpTransaction implements PublishLater {
  readonly #channel: ChannelScope
  readonly #publishing: Publishing
  readonly #deliveries: Deliveries
  readonly #engine: Transaction
  #publishCount = 0
  #mandatory: Mandatory[] = []
  /** Settled deliveries whose credit goes back at commit. */
  #settled = new Map<DeliverySource, number>()
  readonly settleAs: SettleAs = {
    accept: (source, ticket, returned) => {
      if (!returned) this.#engine.accept(source.queue, ticket)
      this.#count(source)
    },
    reject: (source, ticket, returned) => {
      if (!returned) this.#engine.reject(source.queue, ticket, 'rejected')
      this.#count(source)
    },
    return: (source, ticket, returned) => {
      if (!returned) this.#engine.release(source.queue, ticket)
      this.#count(source)
    },
    fail: (source, ticket, returned) => {
      if (!returned) this.#engine.release(source.queue, ticket, { failed: true })
      this.#count(source)
    },
  }

  /** From now on what the channel publishes and settles waits for {@link commit}. */
  constructor(channel: ChannelScope, publishing: Publishing, deliveries: Deliveries) {
    this.#channel = channel
    this.#publishing = publishing
    this.#deliveries = deliveries
    publishing.transaction = this
    deliveries.transaction = this
    this.#engine = channel.vhost.begin()
  }

  /** @throws {EngineError} `limit_reached` */
  publish(route: Route, draft: Draft, mandatory: boolean): void {
    this.#engine.publish(route, draft)
    if (mandatory) this.#mandatory.push({ index: this.#publishCount, route, draft: copyOf(draft) })
    this.#publishCount++
  }

  /** Does everything in one frame; the answer, and whatever the client sends next, waits until that is on disk. */
  commit(): void {
    const channel = this.#channel
    const mandatory = this.#mandatory
    const settled = this.#settled
    let outcomes: readonly number[] = []
    // A channel that ends before it takes effect takes it back.
    const committed = this.#engine.commit((done) => {
      outcomes = done
      this.#deliveries.unacked.forgetPromised()
      for (const [source, count] of settled) source.settled(count)
    })
    this.#begin()
    channel.connection.whenDurable(() => {
      if (channel.over) return
      for (const { index, route, draft } of mandatory) {
        if (outcomes[index] === 0) this.#publishing.giveBack(route.address, draft)
      }
      // What other queues took stays there, as in RabbitMQ.
      if (outcomes.includes(-1)) channel.fail(new Refusal(REPLY.preconditionFailed, 'partial tx completion'))
      else channel.send({ name: 'tx.commit-ok' })
    }, committed)
  }

  rollback(): void {
    this.#engine.rollback()
    this.#deliveries.unacked.restore()
    this.#begin()
  }

  #begin(): void {
    this.#publishCount = 0
    this.#mandatory = []
    this.#settled = new Map()
  }

  #count(source: DeliverySource): void {
    this.#settled.set(source, (this.#settled.get(source) ?? 0) + 1)
  }
}

/** What is needed to send a message back. */
function copyOf(draft: Draft): Draft {
  const copy: Draft = Object.assign(Object.create(Object.getPrototypeOf(draft) as object) as Draft, draft)
  copy.origin = new Uint8Array(draft.origin.subarray(draft.originStart, draft.originEnd))
  copy.originStart = 0
  copy.originEnd = copy.origin.length
  copy.body = new Uint8Array(draft.body.subarray(draft.bodyStart, draft.bodyEnd))
  copy.bodyStart = 0
  copy.bodyEnd = copy.body.length
  return copy
}
