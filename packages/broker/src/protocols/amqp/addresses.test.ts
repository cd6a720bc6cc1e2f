import type { Route, VHost } from '@stathmos/engine'
import { expect, test } from 'vitest'

import { Addresses } from './addresses.ts'

/** A vhost that counts how often it is asked. */
class Vhost {
  asked = 0
  readonly exchanges = new Map<string, { deleted: boolean }>()

  declare(name: string): { deleted: boolean } {
    const exchange = { deleted: false }
    this.exchanges.set(name, exchange)
    return exchange
  }

  route(name: string, key: string): Route | undefined {
    this.asked++
    const exchange = this.exchanges.get(name)
    return exchange === undefined ? undefined : ({ exchange, key } as unknown as Route)
  }

  addresses(): Addresses {
    return new Addresses(this as unknown as VHost)
  }
}

function bytesOf(exchange: string, key: string): Uint8Array {
  const [first, second] = [Buffer.from(exchange), Buffer.from(key)]
  return new Uint8Array([first.length, ...first, second.length, ...second])
}

test('a known address is found by its bytes, without asking the vhost again', () => {
  const vhost = new Vhost()
  vhost.declare('e')
  const addresses = vhost.addresses()
  const first = addresses.find(bytesOf('e', 'key'), 0, 6)
  const padded = new Uint8Array([9, ...bytesOf('e', 'key'), 9])
  expect(addresses.find(padded, 1, 7)).toBe(first)
  expect(first).toMatchObject({ exchange: 'e', key: 'key' })
  expect(vhost.asked).toBe(1)
})

test('where the name ends and the key begins makes another address', () => {
  const vhost = new Vhost()
  vhost.declare('ab')
  vhost.declare('a')
  const addresses = vhost.addresses()
  expect(addresses.find(bytesOf('ab', 'c'), 0, 5).exchange).toBe('ab')
  expect(addresses.find(bytesOf('a', 'bc'), 0, 5).exchange).toBe('a')
})

test('an exchange that was deleted is looked up again, and again when it has come back', () => {
  const vhost = new Vhost()
  const exchange = vhost.declare('e')
  const addresses = vhost.addresses()
  const bytes = bytesOf('e', 'k')
  const address = addresses.find(bytes, 0, bytes.length)
  exchange.deleted = true
  vhost.exchanges.delete('e')
  expect(addresses.find(bytes, 0, bytes.length).route).toBeNull()
  vhost.declare('e')
  expect(addresses.find(bytes, 0, bytes.length)).toBe(address)
  expect(address.route).not.toBeNull()
})

test('names of exchanges that do not exist are not remembered', () => {
  const addresses = new Vhost().addresses()
  addresses.find(bytesOf('e', 'k'), 0, 4)
  expect(addresses.count).toBe(0)
})

test('a publisher with ever new keys fills the table to its limit and no further', () => {
  const vhost = new Vhost()
  vhost.declare('e')
  const addresses = vhost.addresses()
  let largest = 0
  for (let i = 0; i < 70_000; i++) {
    const bytes = bytesOf('e', String(i))
    if (addresses.find(bytes, 0, bytes.length).key !== String(i)) throw new Error(`another address for key ${i}`)
    largest = Math.max(largest, addresses.count)
  }
  expect(largest).toBe(65_536)
})
