import type { VHost } from '@stathmos/engine'
import { OutputBuffer } from '@stathmos/wire/amqp'

import { InputPool } from '../../session/input-pool.ts'
import { OutputPool } from '../../session/output.ts'
import type { World } from '../../session/protocol.ts'
import { Addresses } from './addresses.ts'
import { DirectReplies } from './direct-reply.ts'
import { greeting } from './greeting.ts'
import type { AmqpOptions } from './options.ts'

/** Somebody whose publishing waits for the end of an alarm. */
export interface Blocked {
  unblock(): void
}

/** What all AMQP connections of a broker share. */
export class AmqpContext {
  readonly world: World
  readonly options: AmqpOptions
  /** What every connection is sent first. */
  readonly greeting: Uint8Array
  readonly output: OutputPool<OutputBuffer>
  readonly input = new InputPool()
  readonly replies: DirectReplies
  /** For building what few deliveries need; empty between uses. */
  readonly scratch = new OutputBuffer(4096)
  readonly #addresses = new WeakMap<VHost, Addresses>()
  readonly #blocked = new Set<Blocked>()

  constructor(world: World, options: AmqpOptions) {
    this.world = world
    this.options = options
    this.greeting = greeting(options)
    this.output = new OutputPool(world.clock, (capacity) => new OutputBuffer(capacity))
    this.replies = new DirectReplies(world.random)
    world.engine.flow.onChange(() => {
      if (world.engine.flow.blocked !== null) return
      const waiting = [...this.#blocked]
      this.#blocked.clear()
      for (const each of waiting) each.unblock()
    })
  }

  addressesOf(vhost: VHost): Addresses {
    let addresses = this.#addresses.get(vhost)
    if (addresses === undefined) this.#addresses.set(vhost, (addresses = new Addresses(vhost)))
    return addresses
  }

  /** Calls `blocked.unblock` once, when the alarm that is on now is over. */
  awaitUnblocked(blocked: Blocked): void {
    this.#blocked.add(blocked)
  }

  forget(blocked: Blocked): void {
    this.#blocked.delete(blocked)
  }
}
