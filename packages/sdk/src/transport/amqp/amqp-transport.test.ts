import { expect, test } from 'vitest'
import { silentLog } from '../../log.ts'
import { seededRandom } from '../../random.ts'
import { manualClock } from '../../testing/manual-clock.ts'
import { cloudEvents } from '../../wire/cloud-events.ts'
import { amqp } from './index.ts'

const client = { connect: () => Promise.reject(new Error('nobody there')) }
const surroundings = {
  service: 'desk',
  form: cloudEvents,
  clock: manualClock(),
  random: seededRandom(1),
  log: silentLog,
}

test.each([
  ['nonsense', 'no address of a broker; write amqp://'],
  ['', 'no address of a broker; write amqp://'],
  ['http://guest:secret@127.0.0.1', 'but one of http:; write amqp://'],
])('the url "%s" is refused at the start for good, with what to write and without its password', async (url, said) => {
  const opening = amqp({ url, client }).open(surroundings)
  await expect(opening).rejects.toMatchObject({
    code: 'invalid_declaration',
    retryable: false,
    message: expect.stringMatching(new RegExp(`^(?!.*secret).*${said}`)),
  })
})

test.each(['amqp://localhost', 'amqps://user:p%40ss@broker.example.org:5671/a%2Fb', 'amqp://[::1]:5672'])(
  'the url "%s" is one, whoever is there',
  async (url) => {
    await expect(amqp({ url, client }).open(surroundings)).rejects.toMatchObject({ code: 'transport_down' })
  },
)
