// The SDK's AMQP transport against RabbitMQ as Debian packages it: apt-get install rabbitmq-server
import { transportContract } from '@stathmos/sdk/contracts/transport'
import { afterAll, describe, test } from 'vitest'
import { rabbitmqHome, startRabbitmq } from '../../bench/peers/rabbitmq.mjs'
import { amqpSubject } from '../amqp/sdk-subject.ts'

const installed = rabbitmqHome() !== undefined

describe.skipIf(!installed)(`RabbitMQ${installed ? '' : ' (skipped: apt-get install rabbitmq-server)'}`, async () => {
  const node = installed ? await startRabbitmq() : undefined
  afterAll(() => node?.stop())

  test.each(transportContract({ open: () => amqpSubject(node!.url) }))('$name', ({ run }) => run())
})
