// The SDK's AMQP transport as its contract suite wants it: on a clock that stands still, over connections that can be cut.
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import type { TransportSubject } from '@stathmos/sdk/contracts/transport'
import { amqp, type AmqpTransport } from '@stathmos/sdk/transports/amqp'
import { silentLog } from '../../packages/sdk/src/log.ts'
import { systemRandom } from '../../packages/sdk/src/random.ts'
import { manualClock } from '../../packages/sdk/src/testing/manual-clock.ts'
import { plainForm } from '../../packages/sdk/src/transport/contract/parties.ts'
import { cuttable } from './cuttable.ts'
import { createServer, type AddressInfo } from 'node:net'

/** Large enough for several frames. */
const BODY_BYTES_MAX = 300_000

export async function amqpSubject(url: string): Promise<TransportSubject> {
  const way = await cuttable(url)
  const clock = manualClock()
  const surroundings = { form: plainForm, clock, random: systemRandom, log: silentLog }
  const transports: AmqpTransport[] = []
  return {
    async open(service, form) {
      const transport = amqp({ url: way.url, bodyBytesMax: BODY_BYTES_MAX })
      transports.push(transport)
      await transport.open({ ...surroundings, service, form })
      return transport
    },
    async elapse(ms) {
      await clock.advance(ms)
      // What is due asks the broker, in another time than ours.
      await turn()
    },
    async interrupt() {
      const down = transports.map(
        (transport) =>
          new Promise<void>((resolve) => {
            transport.watch((up) => {
              if (!up) resolve()
            })
          }),
      )
      way.cut()
      await Promise.all(down)
    },
    async openNowhere() {
      await amqp(await unusedUrl()).open({ ...surroundings, service: 'shop' })
    },
    async close() {
      for (const transport of transports) await transport.close()
      await way.close()
    },
  }
}

/** A port that nobody listens on any more. */
async function unusedUrl(): Promise<string> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return `amqp://127.0.0.1:${port}`
}
