import type { Consumer, Engine, MessageView, Receiver } from '@stathmos/engine'

/** A delivery as a test sees it. */
export interface Delivered {
  readonly ticket: number
  readonly text: string
  readonly redelivered: boolean
  readonly attempts: number
}

/** A receiver that writes down what it gets, and checks what every delivery promises. */
export class Inbox implements Receiver {
  readonly got: Delivered[] = []
  readonly lapses: number[] = []
  flushes = 0
  ended = false
  /** Called with each delivery, while it is being handed over. */
  onDeliver: (delivered: Delivered, consumer: Consumer) => void = () => {}
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  get texts(): string[] {
    return this.got.map(({ text }) => text)
  }

  deliver(consumer: Consumer, ticket: number, message: MessageView): void {
    if (message.persistent && consumer.queue.durable && message.position >= this.#engine.durablePosition) {
      throw new Error(`message ${message.position} was delivered before it was on disk`)
    }
    const { redelivered, attempts } = message
    const delivered = { ticket, text: textOf(message.body()), redelivered, attempts }
    this.got.push(delivered)
    this.onDeliver(delivered, consumer)
  }

  flush(): void {
    this.flushes++
  }

  cancelled(): void {
    this.ended = true
  }

  lapsed(_consumer: Consumer, ticket: number): void {
    this.lapses.push(ticket)
  }
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}
