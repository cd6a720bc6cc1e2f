import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { systemClock, type Clock } from '@stathmos/std'
import { afterEach, expect, test } from 'vitest'
import { silentLog } from '../log/log.ts'
import type { Protocol, Session, Transport } from '../session/protocol.ts'
import { acceptLean } from './lean-accepts.ts'
import { openListener, type Listener } from './listener.ts'
import { portHolder } from './port-holder.ts'
import { portInUse } from './port-in-use.ts'
import { readShared } from './shared-reads.ts'

/** A session that keeps what it is told. */
class RecordingSession implements Session {
  readonly transport: Transport
  received = ''
  events: string[] = []
  onChange: () => void = () => {}

  constructor(transport: Transport) {
    this.transport = transport
  }
  receive(chunk: Uint8Array): void {
    this.received += Buffer.from(chunk).toString()
    this.onChange()
  }
  writable(): void {
    this.#note('writable')
  }
  disconnected(): void {
    this.#note('disconnected')
  }
  drain(reason: string): void {
    this.#note(`drain: ${reason}`)
  }
  #note(event: string): void {
    this.events.push(event)
    this.onChange()
  }
  /** Resolves when `condition` holds; checked at every event. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.onChange = () => condition() && resolve()
      this.onChange()
    })
  }
}

const sessions: RecordingSession[] = []
const protocol: Protocol = {
  name: 'amqp',
  open(transport) {
    const session = new RecordingSession(transport)
    sessions.push(session)
    opened?.()
    return session
  },
}
let opened: (() => void) | null = null
let listener: Listener

async function listen(connectionsMax = 10, clock: Clock = systemClock): Promise<Listener> {
  listener = await openListener({
    protocol,
    host: '127.0.0.1',
    port: 0,
    connectionsMax,
    clock,
    log: silentLog,
  })
  return listener
}

/** A clock whose timers are fired by hand. */
function stoppedClock(): Clock & { fire: () => void } {
  const timers = new Set<() => void>()
  return {
    ...systemClock,
    after(_delayMs, fire) {
      timers.add(fire)
      return { cancel: () => void timers.delete(fire) }
    },
    fire() {
      for (const timer of timers) timer()
    },
  }
}

async function join(allowHalfOpen = false): Promise<{ client: Socket; session: RecordingSession }> {
  const accepted = new Promise<void>((resolve) => {
    opened = resolve
  })
  const client = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen })
  await once(client, 'connect')
  await accepted
  return { client, session: sessions.at(-1)! }
}

afterEach(async () => {
  listener.stopAccepting()
  await listener.drain('the test is over', 0)
  sessions.length = 0
})

test('bytes go to the session in order and the session’s bytes to the peer', async () => {
  await listen()
  const { client, session } = await join()
  client.write('hello')
  await session.until(() => session.received === 'hello')
  let released = 0
  session.transport.write(Buffer.from('good '), () => released++)
  session.transport.write(Buffer.from('day'), () => released++)
  session.transport.end()
  let text = ''
  client.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(client, 'close')
  expect(text).toBe('good day')
  expect(released).toBe(2)
})

test('the session knows its peer by the socket', async () => {
  await listen()
  const { client, session } = await join()
  expect(session.transport.peer).toEqual({ address: '127.0.0.1', port: client.localPort, loopback: true, tls: false })
})

test('a peer that does not read makes a backlog, and reading it is told once', async () => {
  await listen()
  const { client, session } = await join()
  client.pause()
  const piece = Buffer.alloc(1 << 20)
  let released = 0
  let written = 0
  while (session.transport.backlog === 0) {
    session.transport.write(piece, () => released++)
    written++
  }
  expect(session.events).toEqual([])
  client.resume()
  await session.until(() => session.events.length > 0)
  expect(session.events).toEqual(['writable'])
  expect(session.transport.backlog).toBe(0)
  expect(released).toBe(written)
})

test('a connection that is cut tells its session once, and writes to it release their bytes', async () => {
  await listen()
  const { client, session } = await join()
  client.resetAndDestroy()
  await session.until(() => session.events.includes('disconnected'))
  let released = false
  session.transport.write(Buffer.from('late'), () => (released = true))
  session.transport.end()
  expect(released).toBe(true)
  expect(session.events).toEqual(['disconnected'])
  expect(listener.connectionCount).toBe(0)
})

test('one connection more than allowed is closed at once, the others stay', async () => {
  await listen(2)
  const first = await join()
  await join()
  const third = connect(listener.port, '127.0.0.1')
  third.on('error', () => {})
  await once(third, 'close')
  expect(listener.connectionCount).toBe(2)
  expect(first.client.destroyed).toBe(false)
})

test('draining has every session say goodbye and waits for the last connection', async () => {
  await listen()
  const { client, session } = await join()
  const done = listener.drain('the broker is stopping', 60_000)
  expect(session.events).toEqual(['drain: the broker is stopping'])
  session.transport.write(Buffer.from('bye'), null)
  session.transport.end()
  client.resume()
  await done
  expect(session.events).toEqual(['drain: the broker is stopping', 'disconnected'])
})

test('a peer that does not answer the goodbye is cut at the deadline', async () => {
  await listen()
  const { client, session } = await join()
  client.on('error', () => {})
  await listener.drain('the broker is stopping', 1)
  expect(session.events.at(-1)).toBe('disconnected')
})

test('a listener that has stopped accepting refuses and keeps the connections it has', async () => {
  await listen()
  const { session } = await join()
  listener.stopAccepting()
  const late = connect(listener.port, '127.0.0.1')
  const [error] = await once(late, 'error')
  expect((error as NodeJS.ErrnoException).code).toBe('ECONNREFUSED')
  expect(session.events).toEqual([])
})

test('a connection that cannot be accepted is the server’s error still', async () => {
  await listen()
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  acceptLean(server, () => {})
  const failed = once(server, 'error')
  // oxlint-disable-next-line no-underscore-dangle -- The name is Node's.
  ;(server as unknown as { _handle: { onconnection(error: number): void } })._handle.onconnection(-24)
  expect(await failed).toMatchObject([{ code: 'EMFILE', syscall: 'accept' }])
  server.close()
})

test('where Node keeps its handles elsewhere, a server accepts as Node does', async () => {
  await listen()
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { _handle: handle } = server as unknown as { _handle: object | null }
  Object.assign(server, { _handle: null })
  acceptLean(server, () => expect.unreachable())
  Object.assign(server, { _handle: handle })
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  accepted.destroy()
  client.destroy()
  server.close()
})

test('all sockets are read into one buffer', async () => {
  await listen()
  const buffers = new Set<ArrayBufferLike>()
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  for (let count = 0; count < 2; count++) {
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [accepted] = (await once(server, 'connection')) as [Socket]
    const received = new Promise<void>((resolve) => {
      readShared(accepted, (chunk) => {
        buffers.add(chunk.buffer)
        resolve()
      })
    })
    client.write('hello')
    await received
    client.destroy()
  }
  expect(buffers.size).toBe(1)
  server.close()
})

test('where Node keeps its handles elsewhere, a socket is read in the ordinary way', async () => {
  await listen()
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [accepted] = (await once(server, 'connection')) as [Socket]
  // oxlint-disable-next-line no-underscore-dangle -- The name is Node's.
  Object.assign((accepted as unknown as { _handle: object })._handle, { useUserBuffer: undefined })
  const received = new Promise<string>((resolve) => {
    readShared(accepted, (chunk) => resolve(Buffer.from(chunk).toString()))
  })
  client.write('hello')
  expect(await received).toBe('hello')
  client.destroy()
  server.close()
})

test('a session that ends while it has reading paused sees its peer close', async () => {
  await listen(10, stoppedClock())
  const { client, session } = await join()
  session.transport.pauseReading()
  session.transport.end()
  session.transport.pauseReading()
  // The client closes its side when it reads our end. Nothing cuts the connection: no timer fires.
  client.resume()
  await session.until(() => session.events.includes('disconnected'))
})

test('a peer that does not close after our goodbye is cut', async () => {
  const clock = stoppedClock()
  await listen(10, clock)
  const { client, session } = await join(true)
  session.transport.end()
  client.resume()
  await once(client, 'end')
  expect(session.events).toEqual([])
  clock.fire()
  await session.until(() => session.events.includes('disconnected'))
  client.destroy()
})

test('a connection that is paused receives nothing until it is resumed', async () => {
  await listen()
  const { client, session } = await join()
  session.transport.pauseReading()
  client.write('early')
  // Another connection's bytes, sent later, have come through: the paused one's would have, too.
  const other = await join()
  other.client.write('late')
  await other.session.until(() => other.session.received === 'late')
  expect(session.received).toBe('')
  session.transport.resumeReading()
  await session.until(() => session.received === 'early')
})

test.runIf(process.platform === 'linux')(
  'a port in use names the process that holds it and the options that help',
  async () => {
    await listen()
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    expect(portHolder(port)).toMatchObject({ pid: process.pid })
    const refused = openListener({
      protocol,
      host: '127.0.0.1',
      port,
      connectionsMax: 1,
      clock: systemClock,
      log: silentLog,
    })
    await expect(refused).rejects.toThrow(
      new RegExp(`the amqp port ${port} is in use by process ${process.pid} \\(.+\\)\\n.*--amqp-port`),
    )
    other.close()
  },
)

test('when nobody can tell who holds the port, the options are named all the same', async () => {
  await listen()
  const { message } = portInUse('http', 15672, undefined)
  expect(
    message
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s{2,}/)[0]),
  ).toEqual(['--http-port 15673', '--port-offset 10000', '--ports auto'])
})
