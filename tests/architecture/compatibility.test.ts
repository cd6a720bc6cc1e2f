import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { behavioursOf, page } from '../../tools/compatibility.mjs'

test('docs/compatibility-amqp.md says what the conformance tests prove (node tools/compatibility.mjs)', () => {
  expect(readFileSync(new URL('../../docs/compatibility-amqp.md', import.meta.url), 'utf8')).toBe(page())
})

test('the table knows plain tests, tables of tests, and why a test is for Stathmos only', () => {
  const source = `
const later = onlyOnStathmos(broker, 'too old')

test('one thing [AMQP 1.2]', async () => {})

test.each([
  ['a', (x) => f(x)],
])('another, "%s" [RabbitMQ x-y]', async () => {})

test('it\\'s new', later, async () => {})

test(
  'newer [RabbitMQ 4]',
  onlyOnStathmos(broker, 'older'),
  async () => {},
)
`
  expect(behavioursOf(source)).toEqual([
    { behaviour: 'one thing', origin: 'AMQP 1.2', reason: undefined },
    { behaviour: 'another, …', origin: 'RabbitMQ x-y', reason: undefined },
    { behaviour: "it's new", origin: '', reason: 'too old' },
    { behaviour: 'newer', origin: 'RabbitMQ 4', reason: 'older' },
  ])
})
