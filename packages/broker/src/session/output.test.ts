import { OutputBuffer } from '@stathmos/wire/amqp'
import { expect, test } from 'vitest'

import { ByteChannel } from './byte-channel.ts'
import { Output, OutputPool } from './output.ts'
import type { Protocol } from './protocol.ts'

const NOBODY: Protocol = {
  name: 'nobody',
  open: () => ({ receive() {}, writable() {}, disconnected() {}, drain() {} }),
}

function setting(): { channel: ByteChannel; output: Output<OutputBuffer>; made: number[]; endTurn: () => void } {
  const soon: (() => void)[] = []
  const made: number[] = []
  const clock = {
    now: () => 0,
    monotonic: () => 0,
    after: () => ({ cancel() {} }),
    soon: (run: () => void) => void soon.push(run),
  }
  const pool = new OutputPool(clock, (capacity) => {
    made.push(capacity)
    return new OutputBuffer(capacity)
  })
  const channel = new ByteChannel(NOBODY)
  const endTurn = (): void => {
    for (const run of soon.splice(0)) run()
  }
  return { channel, output: new Output(pool, channel), made, endTurn }
}

function put(output: Output<OutputBuffer>, count: number, octet: number): void {
  output.room(count).putBytes(new Uint8Array(count).fill(octet))
}

test('what is encoded in one turn leaves in one write when the turn ends', () => {
  const { channel, output, endTurn } = setting()
  put(output, 3, 1)
  put(output, 2, 2)
  expect(channel.writes).toBe(0)
  endTurn()
  expect(channel.writes).toBe(1)
  expect(channel.take()).toEqual(Uint8Array.of(1, 1, 1, 2, 2))
})

test('a burst outgrows the small buffer without losing what is in it', () => {
  const { channel, output, endTurn } = setting()
  put(output, 4000, 1)
  put(output, 4000, 2)
  endTurn()
  expect(channel.writes).toBe(1)
  const sent = channel.take()
  expect([sent.length, sent[3999], sent[4000]]).toEqual([8000, 1, 2])
})

test('a full buffer is written before the turn ends, and the order is kept', () => {
  const { channel, output, endTurn } = setting()
  for (let i = 0; i < 5; i++) put(output, 30_000, i)
  put(output, 200_000, 9)
  endTurn()
  const sent = channel.take()
  expect(sent).toHaveLength(350_000)
  expect([0, 30_000, 60_000, 90_000, 120_000, 150_000].map((at) => sent[at])).toEqual([0, 1, 2, 3, 4, 9])
})

test('buffers are used again once the socket has taken them, and not before', () => {
  const { channel, output, made, endTurn } = setting()
  for (let i = 0; i < 10; i++) {
    put(output, 10, i)
    endTurn()
  }
  expect(made).toHaveLength(1)
  channel.stick()
  for (let i = 0; i < 3; i++) {
    put(output, 10, i)
    endTurn()
  }
  expect(made).toHaveLength(3)
})

test('after closing nothing is written', () => {
  const { channel, output, endTurn } = setting()
  put(output, 10, 1)
  output.close()
  endTurn()
  put(output, 10, 1)
  endTurn()
  expect(channel.writes).toBe(0)
})
