import type { DataOf } from '../contract/contract.ts'
import type { RequestContract } from '../contract/request-contract.ts'
import { silentLog } from '../log.ts'
import { uuidV7 } from '../message/message-id.ts'
import type { AnswerOf } from '../request/answer.ts'
import { Asker, type AskOptions } from '../request/asker.ts'
import { StoreTime } from '../outbox/store-time.ts'
import type { Store } from '../store/port.ts'
import { silentTelemetry } from '../telemetry/telemetry.ts'
import type { Clock } from '../time/clock.ts'
import { cloudEvents } from '../wire/cloud-events.ts'
import { Activity } from '../work/activity.ts'
import type { Ground } from './test-process.ts'

/** The name of who asks in a test. */
const NAME = 'test'

/** Asks the services of a test, from outside, in the form that they write in. */
export class OutsideAsker {
  readonly #ground: Ground
  readonly #clock: Clock
  readonly #store: Pick<Store<unknown>, 'now'>
  #opening: Promise<Asker> | null = null

  /** @param store whose time the services that answer go by */
  constructor(ground: Ground, clock: Clock, store: Pick<Store<unknown>, 'now'>) {
    this.#ground = ground
    this.#clock = clock
    this.#store = store
  }

  async ask<C extends RequestContract>(contract: C, data: DataOf<C>, options?: AskOptions): Promise<AnswerOf<C>> {
    this.#opening ??= this.#open()
    const asker = await this.#opening
    return asker.ask(contract, data, options)
  }

  /** Whoever still waits for an answer gets none. */
  async close(): Promise<void> {
    const asker = await this.#opening
    if (asker?.outstanding === 0) await asker.stop()
  }

  async #open(): Promise<Asker> {
    const { engine, random, chronicle } = this.#ground
    const time = new StoreTime(this.#store, this.#clock)
    await time.refresh()
    const clock = { ...this.#clock, now: () => time.now() }
    const transport = chronicle.transport(engine.transport())
    await transport.open({ service: NAME, form: chronicle.form ?? cloudEvents, clock, random, log: silentLog })
    return new Asker({
      service: NAME,
      process: NAME,
      transport,
      clock,
      random,
      newId: uuidV7(clock, random),
      log: silentLog,
      telemetry: silentTelemetry,
      activity: new Activity(),
    })
  }
}
