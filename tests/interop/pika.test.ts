// Python, with pika as Debian packages it: apt-get install python3-pika
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { brokerUnderTest } from '../amqp/broker-under-test.ts'
import { pythonWithPika, succeed } from './program.ts'

const broker = await brokerUnderTest()
const python = pythonWithPika()
const program = (name: string): string => fileURLToPath(new URL(`pika/${name}`, import.meta.url))

describe.skipIf(python === undefined)(
  `pika${python === undefined ? ' (skipped: apt-get install python3-pika)' : ''}`,
  () => {
    test.each([
      ['1', 'Hello World!', ['Hello World!']],
      ['2', 'work queues', ['taken task 0 False', 'task 0', 'task 1', 'task 2', 'task 3']],
      ['3', 'publish/subscribe', ['info', 'info']],
      ['4', 'routing', ['error', 'info error warning']],
      [
        '5',
        'topics',
        [
          'kern.critical kern.info',
          'kern.critical cron.critical',
          'kern.critical kern.info cron.critical anonymous.info',
        ],
      ],
      ['6', 'remote procedure calls', ['10 55', '15 610', '20 6765']],
    ])('tutorial %s, %s, in Python [client pika]', async (number, _title, lines) => {
      const output = await succeed(python!, [program('tutorials.py'), broker.url, number])
      expect(output.trim().split('\n')).toEqual(lines)
    })

    test.each([
      ['confirms_and_returns'],
      ['nack_on_overflow'],
      ['properties_round_trip'],
      ['transactions'],
      ['dead_letters'],
      ['requeue_and_redelivered'],
      ['errors_close_the_channel'],
      ['wrong_password'],
      ['missing_vhost'],
      ['consumer_cancelled_by_the_broker'],
      ['large_bodies'],
      ['direct_reply_to'],
    ])('%s works as its users expect [client pika]', async (feature) => {
      expect(await succeed(python!, [program('features.py'), broker.url, feature])).toBe('')
    })
  },
)
