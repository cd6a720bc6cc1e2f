// The SDK's AMQP transport against RabbitMQ as Debian packages it: apt-get install rabbitmq-server
import { transportContract } from '@stathmos/sdk/contracts/transport'
import { afterAll, describe, test } from 'vitest'
import { rabbitmqHome, startRabbitmq } from '../../bench/peers/rabbitmq.mjs'
import { type Alarmed, outlivesAnAlarm, stopsDuringAnAlarm } from '../amqp/alarmed.ts'
import { declaredBeforeTheFirstStart } from '../amqp/declared.ts'
import { amqpSubject } from '../amqp/sdk-subject.ts'

const installed = rabbitmqHome() !== undefined

describe.skipIf(!installed)(`RabbitMQ${installed ? '' : ' (skipped: apt-get install rabbitmq-server)'}`, async () => {
  const node = installed ? await startRabbitmq() : undefined
  afterAll(() => node?.stop())

  test.each(transportContract({ open: () => amqpSubject(node!.url) }))('$name', ({ run }) => run())

  test('services that were declared by their manifests get what was sent before their first start', () =>
    declaredBeforeTheFirstStart('declared', { url: node!.url }))

  test('the same on quorum queues, whose arguments the manifest tells', () =>
    declaredBeforeTheFirstStart('replicated', {
      url: node!.url,
      queueArguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': -1 },
    }))

  const alarmed: Alarmed = {
    get url() {
      return node!.url
    },
    raise: () => node!.control('set_vm_memory_high_watermark', 'absolute', '1'),
    clear: () => node!.control('set_vm_memory_high_watermark', '0.6'),
  }
  test('messages wait for the end of a memory alarm, at the cost of no attempt', () => outlivesAnAlarm(alarmed))
  test('a memory alarm does not keep a service from stopping', () => stopsDuringAnAlarm(alarmed))
})
