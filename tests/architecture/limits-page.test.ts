// docs/amqp.md names every limit with the default that the code has.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LIMITS } from '@stathmos/engine'
import { expect, test } from 'vitest'
import { amqpOptions } from '../../packages/broker/src/protocols/amqp/options.ts'
import { SESSION_LIMITS } from '../../packages/broker/src/session/protocol.ts'
import { root } from './sources.ts'

/** What a unit is in the one that the code has. */
const UNITS: Readonly<Record<string, number>> = { KiB: 1024, MiB: 1024 ** 2, ms: 1, s: 1000, min: 60_000 }

/** A default in the page's words, as a number. */
function numberOf(text: string): number {
  // The composition root asks the machine; the engine alone has no limit.
  if (text === 'half of the machine') return Number.POSITIVE_INFINITY
  const [amount, unit = ''] = text.split(' ')
  return Number(amount) * (UNITS[unit] ?? 1)
}

test('every limit is a row with its default', () => {
  const page = readFileSync(join(root, 'docs/amqp.md'), 'utf8').split('## Limits')[1]!
  const rows = [...page.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, name, value]) => [name!, numberOf(value!)])
  expect(Object.fromEntries(rows)).toEqual({ ...LIMITS, ...SESSION_LIMITS, ...amqpOptions().limits })
})
