import type { Exchange } from '../exchange/exchange.ts'
import type { ExchangeTable } from '../exchange/exchange-table.ts'
import type { Headers } from '../message/headers.ts'
import type { Queue } from '../queue/queue.ts'

const UTF8 = new TextEncoder()

/** Longest name of an exchange and longest routing key, in bytes: one octet counts them. */
export const SHORT_STRING_BYTES_MAX = 255

/** A place to publish to, exchange and routing key, with the queues that it leads to at present. */
export class Route {
  readonly exchange: Exchange<Queue>
  readonly key: string
  /** Exchange and key as they are stored: a length octet and UTF-8 each. */
  readonly address: Uint8Array
  readonly addressView: DataView
  #version = -1
  #targets: readonly Queue[] = []
  #dynamic = false

  constructor(exchange: Exchange<Queue>, key: string) {
    this.exchange = exchange
    this.key = key
    this.address = encodeAddress(exchange.name, key)
    this.addressView = new DataView(this.address.buffer)
  }

  /** The distinct queues that a message published here reaches now. Not to be changed. */
  targets(
    table: ExchangeTable<Queue>,
    headers: (() => Headers) | null,
    moreKeys: readonly string[] | null,
  ): readonly Queue[] {
    if (this.#version !== table.version) {
      this.#version = table.version
      this.#dynamic = table.dependsOnHeaders(this.exchange)
      if (!this.#dynamic) this.#targets = table.resolve(this.exchange, this.key, null, null)
    }
    if (this.#dynamic || moreKeys !== null) return table.resolve(this.exchange, this.key, moreKeys, headers)
    return this.#targets
  }
}

/** Exchange and routing key as a message record holds them. */
function encodeAddress(exchange: string, key: string): Uint8Array {
  const exchangeBytes = UTF8.encode(exchange)
  const keyBytes = UTF8.encode(key)
  const bytes = new Uint8Array(2 + exchangeBytes.length + keyBytes.length)
  bytes[0] = exchangeBytes.length
  bytes.set(exchangeBytes, 1)
  bytes[1 + exchangeBytes.length] = keyBytes.length
  bytes.set(keyBytes, 2 + exchangeBytes.length)
  return bytes
}
