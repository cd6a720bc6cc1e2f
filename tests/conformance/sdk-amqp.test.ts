// The SDK's AMQP transport against a real broker, over connections that can be cut.
import { transportContract } from '@stathmos/sdk/contracts/transport'
import { afterAll, test } from 'vitest'
import { startTestBroker } from 'stathmos/test'
import { amqpSubject } from '../amqp/sdk-subject.ts'

const broker = await startTestBroker()
afterAll(() => broker.stop())

test.each(transportContract({ open: () => amqpSubject(broker.urls.amqp) }))('$name', ({ run }) => run())
