import type { Route, VHost } from '@stathmos/engine'
import { readText } from '@stathmos/wire/amqp'

import { DEFAULT_EXCHANGE, REPLY_KEY_PREFIX } from './names.ts'

/**
 * Addresses kept by one vhost. A publisher that makes a new routing key for every message would
 * fill any table; at this size (some 20 MiB) it is emptied and begins anew.
 */
const ADDRESS_MAX = 64 * 1024
const SLOTS_AT_FIRST = 256

/** Where a publish goes, found by the bytes it names it with. */
export class Address {
  /** `[exchange][routing key]`, each a length octet and UTF-8, as on the wire. */
  readonly bytes: Uint8Array
  readonly hash: number
  readonly exchange: string
  readonly key: string
  /** It names a channel that waits for a direct reply, not a queue. */
  readonly reply: boolean
  /** Null: no exchange of this name existed at the last look. */
  route: Route | null
  next: Address | null

  constructor(
    bytes: Uint8Array,
    hash: number,
    exchange: string,
    key: string,
    route: Route | null,
    next: Address | null,
  ) {
    this.bytes = bytes
    this.hash = hash
    this.exchange = exchange
    this.key = key
    this.reply = exchange === DEFAULT_EXCHANGE && key.startsWith(REPLY_KEY_PREFIX)
    this.route = route
    this.next = next
  }

  /** Whether these are the address's own bytes. */
  is(bytes: Uint8Array, start: number, end: number): boolean {
    const own = this.bytes
    const length = end - start
    if (own.length !== length) return false
    for (let i = 0; i < length; i++) if (own[i] !== bytes[start + i]) return false
    return true
  }
}

/**
 * The addresses that a vhost's publishers use: raw bytes to the engine's route, so that a publish to
 * a known address makes no string. Shared by all connections of the vhost.
 */
export class Addresses {
  readonly #vhost: VHost
  #slots: (Address | null)[] = new Array<Address | null>(SLOTS_AT_FIRST).fill(null)
  #count = 0

  constructor(vhost: VHost) {
    this.#vhost = vhost
  }

  get count(): number {
    return this.#count
  }

  /**
   * The address in `bytes` from `start`, two short strings that end at `end`. Its route is current:
   * an exchange that was deleted, or declared since, has been looked up again.
   *
   * @throws {ProtocolError} when a name is not UTF-8
   */
  find(bytes: Uint8Array, start: number, end: number): Address {
    const hash = hashOf(bytes, start, end)
    const slot = hash & (this.#slots.length - 1)
    let address: Address | null = this.#slots[slot]!
    while (address !== null) {
      if (address.hash === hash && address.is(bytes, start, end)) return this.refresh(address)
      address = address.next
    }
    return this.#add(bytes, start, end, hash)
  }

  /** The same address, its route looked up again if its exchange has gone or come. */
  refresh(address: Address): Address {
    const route = address.route
    if (route === null || route.exchange.deleted) address.route = this.#routeOf(address.exchange, address.key)
    return address
  }

  #add(bytes: Uint8Array, start: number, end: number, hash: number): Address {
    const keyStart = start + 1 + bytes[start]!
    const exchange = readText(bytes, start + 1, keyStart)
    const key = readText(bytes, keyStart + 1, end)
    const route = this.#routeOf(exchange, key)
    // A stranger's guess at an exchange is not worth remembering.
    const own = new Uint8Array(bytes.subarray(start, end))
    if (route === null) return new Address(own, hash, exchange, key, null, null)
    if (this.#count >= ADDRESS_MAX) this.#resize(SLOTS_AT_FIRST, false)
    else if (this.#count >= this.#slots.length) this.#resize(this.#slots.length * 2, true)
    const slot = hash & (this.#slots.length - 1)
    const address = new Address(own, hash, exchange, key, route, this.#slots[slot]!)
    this.#slots[slot] = address
    this.#count++
    return address
  }

  #routeOf(exchange: string, key: string): Route | null {
    return this.#vhost.route(exchange, key) ?? null
  }

  #resize(size: number, keep: boolean): void {
    const old = this.#slots
    this.#slots = new Array<Address | null>(size).fill(null)
    this.#count = 0
    if (!keep) return
    for (const first of old) {
      for (let address = first; address !== null;) {
        const { next } = address
        const slot = address.hash & (size - 1)
        address.next = this.#slots[slot]!
        this.#slots[slot] = address
        this.#count++
        address = next
      }
    }
  }
}

/** FNV-1a, 32 bits, with a last mix for the low bits that choose the slot. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  return (hash ^ (hash >>> 15)) >>> 0
}
