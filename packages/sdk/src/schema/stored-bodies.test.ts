import { expect, test } from 'vitest'
import { z } from 'zod'
import { event } from '../contract/event.ts'
import type { Message } from '../message/message.ts'
import { checkStoredBodies, UNREADABLE_MAX } from './stored-bodies.ts'

const contract = event('a', z.object({ n: z.number() }))

const message = (id: string, data: unknown, change: Partial<Message> = {}): Message => ({
  id,
  kind: 'event',
  type: 'a',
  version: 1,
  source: 'lab',
  time: 0,
  key: null,
  keySeq: null,
  contentType: 'application/json',
  body: new TextEncoder().encode(JSON.stringify(data)),
  metadata: { correlationId: id },
  ...change,
})

test('stored messages that would not decode are named, with what they would be parked with', async () => {
  const stored = [
    message('1', { n: 1 }),
    message('2', { n: 'x' }),
    message('3', { n: 1 }, { version: 2 }),
    message('4', { n: 1 }, { type: 'b' }),
    message('5', { n: 1 }, { body: Uint8Array.of(0xff) }),
    message('6', { n: 1 }, { kind: 'command' }),
  ]
  const { checked, failed, unreadable } = await checkStoredBodies([contract], stored)
  expect({ checked, failed }).toEqual({ checked: 6, failed: 5 })
  expect(unreadable.map(({ id, error }) => [id, error.code])).toEqual([
    ['2', 'invalid_data'],
    ['3', 'unknown_contract'],
    ['4', 'unknown_contract'],
    ['5', 'malformed_message'],
    ['6', 'unknown_contract'],
  ])
})

test('however many there are, only the first are kept', async () => {
  async function* many(): AsyncIterable<Message> {
    for (let index = 0; index < UNREADABLE_MAX + 5; index++) yield message(String(index), {})
  }
  const { failed, unreadable } = await checkStoredBodies([contract], many())
  expect(failed).toBe(UNREADABLE_MAX + 5)
  expect(unreadable).toHaveLength(UNREADABLE_MAX)
})
