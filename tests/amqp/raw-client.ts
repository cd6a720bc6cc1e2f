// A client of our own that hides nothing: every frame can be sent and seen, wrong ones too.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { decodeHeader, decodeMethod, encodeHeader, encodeMethod, frame, type Arguments, type Method } from './codec.ts'

export const PROTOCOL_HEADER = Buffer.from('AMQP\0\0\x09\x01', 'latin1')

/** No answer of a broker on the same machine takes longer; a test that waits longer has failed. */
const ANSWER_MS = 8000

export interface Content extends Method {
  readonly properties: Arguments
  readonly body: Buffer
}

export interface Received {
  readonly channel: number
  readonly type: number
  readonly method: Method | null
  readonly payload: Buffer
}

/** Why the broker closed a channel or the connection. */
export interface Closure {
  readonly scope: 'channel' | 'connection'
  readonly code: number
  readonly text: string
  readonly method: readonly [classId: number, methodId: number]
}

export interface OpenOptions {
  readonly mechanism?: string
  readonly response?: string | Buffer
  readonly user?: string
  readonly password?: string
  readonly vhost?: string
  readonly capabilities?: Arguments
  readonly channelMax?: number
  readonly frameMax?: number
  readonly heartbeat?: number
}

const CAPABILITIES = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
}

export class RawClient {
  readonly #socket: Socket
  #buffer: Buffer = Buffer.alloc(0)
  readonly #frames: Received[] = []
  #wake: (() => void) | null = null
  #ended = false
  serverProperties: Arguments = {}
  mechanisms = ''
  locales = ''
  tune = { channelMax: 0, frameMax: 131_072, heartbeat: 0 }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk])
      this.#parse()
      this.#wake?.()
    })
    const end = (): void => {
      this.#ended = true
      this.#wake?.()
    }
    socket.on('error', end)
    socket.on('close', end)
    socket.on('end', end)
  }

  /** A connected socket, nothing said yet. */
  static async dial(url: string): Promise<RawClient> {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port || 5672), noDelay: true })
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  /** Negotiated as far as connection.tune. */
  static async greet(url: string, options: OpenOptions = {}): Promise<RawClient> {
    const client = await RawClient.dial(url)
    client.write(PROTOCOL_HEADER)
    await client.answerStart(options)
    const tune = await client.expect('connection.tune')
    client.tune = tune.arguments as typeof client.tune
    return client
  }

  /** Negotiated to the end, with channel 1 open. */
  static async open(url: string, options: OpenOptions = {}): Promise<RawClient> {
    const client = await RawClient.greet(url, options)
    client.tune = {
      channelMax: options.channelMax ?? client.tune.channelMax,
      frameMax: options.frameMax ?? client.tune.frameMax,
      heartbeat: options.heartbeat ?? 0,
    }
    client.send(0, 'connection.tune-ok', client.tune)
    client.send(0, 'connection.open', { virtualHost: options.vhost ?? '/' })
    await client.expect('connection.open-ok')
    await client.openChannel(1)
    return client
  }

  async answerStart(options: OpenOptions = {}): Promise<void> {
    const start = await this.expect('connection.start')
    this.serverProperties = start.arguments['serverProperties'] as Arguments
    this.mechanisms = start.arguments['mechanisms'] as string
    this.locales = start.arguments['locales'] as string
    this.send(0, 'connection.start-ok', {
      clientProperties: { product: 'raw-client', capabilities: options.capabilities ?? CAPABILITIES },
      mechanism: options.mechanism ?? 'PLAIN',
      response: options.response ?? `\0${options.user ?? 'guest'}\0${options.password ?? 'guest'}`,
      locale: 'en_US',
    })
  }

  async openChannel(channel: number): Promise<void> {
    await this.call(channel, 'channel.open', {}, 'channel.open-ok')
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  sendFrame(type: number, channel: number, payload: Buffer): void {
    this.write(frame(type, channel, payload))
  }

  send(channel: number, name: string, values: Arguments = {}): void {
    this.sendFrame(1, channel, encodeMethod(name, values))
  }

  publish(channel: number, values: Arguments, properties: Arguments = {}, body: string | Buffer = ''): void {
    const bytes = Buffer.from(body as string)
    const parts = [
      frame(1, channel, encodeMethod('basic.publish', values)),
      frame(2, channel, encodeHeader(bytes.length, properties)),
    ]
    const room = (this.tune.frameMax || 131_072) - 8
    for (let at = 0; at < bytes.length; at += room) parts.push(frame(3, channel, bytes.subarray(at, at + room)))
    this.write(Buffer.concat(parts))
  }

  /** Sends a method and waits for its answer on the same channel. */
  async call(channel: number, name: string, values: Arguments, answer = `${name}-ok`): Promise<Method> {
    this.send(channel, name, values)
    return this.expect(answer, channel)
  }

  /** The next frame that is no heartbeat. */
  async next(): Promise<Received> {
    for (;;) {
      const received = await this.nextOfAnyType()
      if (received.type !== 8) return received
    }
  }

  /** The next frame, heartbeats included. */
  async nextOfAnyType(): Promise<Received> {
    await this.#until(() => this.#frames.length > 0 || this.#ended)
    const received = this.#frames.shift()
    if (received === undefined) throw new Error('the broker closed the connection')
    return received
  }

  /** The next method, which must be this one. */
  async expect(name: string, channel?: number): Promise<Method> {
    const received = await this.next()
    const { method } = received
    if (method?.name !== name || (channel !== undefined && received.channel !== channel)) {
      const came =
        method === null ? `a frame of type ${received.type}` : `${method.name} ${JSON.stringify(method.arguments)}`
      throw new Error(`expected ${name} on channel ${channel ?? 'any'}, got ${came} on channel ${received.channel}`)
    }
    return method
  }

  /** The next method, which must be this one, with the content that follows it. */
  async content(name: string, channel = 1): Promise<Content> {
    const method = await this.expect(name, channel)
    const header = await this.next()
    if (header.type !== 2) throw new Error(`expected a content header, got a frame of type ${header.type}`)
    const { bodySize, properties } = decodeHeader(header.payload)
    const parts: Buffer[] = []
    for (let size = 0; size < bodySize;) {
      const part = await this.next()
      if (part.type !== 3) throw new Error(`expected a content body, got a frame of type ${part.type}`)
      parts.push(part.payload)
      size += part.payload.length
    }
    return { ...method, properties, body: Buffer.concat(parts) }
  }

  /** Waits until the broker closes a channel or the connection, skipping what comes before, and says close-ok. */
  async closure(): Promise<Closure> {
    for (;;) {
      const { channel, method } = await this.next()
      if (method?.name !== 'channel.close' && method?.name !== 'connection.close') continue
      const { replyCode, replyText, classId, methodId } = method.arguments as Record<string, unknown>
      this.send(channel, `${method.name}-ok`)
      return {
        scope: method.name === 'channel.close' ? 'channel' : 'connection',
        code: replyCode as number,
        text: replyText as string,
        method: [classId as number, methodId as number],
      }
    }
  }

  /** Sends a method that the broker must refuse. A channel is open again afterwards. */
  async refused(name: string, values: Arguments, channel = 1): Promise<Closure> {
    this.send(channel, name, values)
    const closure = await this.closure()
    if (closure.scope === 'channel') await this.openChannel(channel)
    return closure
  }

  /** True once the broker has closed the socket; waits for it. Frames that are left unread do not count. */
  async hungUp(): Promise<boolean> {
    await this.#until(() => this.#ended)
    return this.#ended
  }

  /** What arrived that is not a frame, such as the protocol header of a broker that refuses ours. */
  async unframed(): Promise<Buffer> {
    await this.#until(() => this.#ended)
    return this.#buffer
  }

  get localPort(): number {
    return this.#socket.localPort ?? 0
  }

  pauseReading(): void {
    this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  async close(): Promise<void> {
    if (!this.#ended) {
      this.send(0, 'connection.close', { replyCode: 200, replyText: 'bye' })
      await this.#until(() => this.#ended || this.#frames.some(({ method }) => method?.name === 'connection.close-ok'))
    }
    this.destroy()
  }

  /** Drops the socket without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.destroy()
  }

  #parse(): void {
    for (;;) {
      if (this.#buffer.length < 8 || this.#buffer.subarray(0, 4).toString('latin1') === 'AMQP') return
      const size = this.#buffer.readUInt32BE(3)
      if (this.#buffer.length < size + 8) return
      if (this.#buffer[size + 7] !== 0xce) throw new Error('a frame of the broker does not end with 0xCE')
      const [type, channel] = [this.#buffer.readUInt8(0), this.#buffer.readUInt16BE(1)]
      const payload = Buffer.from(this.#buffer.subarray(7, 7 + size))
      this.#buffer = this.#buffer.subarray(size + 8)
      this.#frames.push({ type, channel, payload, method: type === 1 ? decodeMethod(payload) : null })
    }
  }

  async #until(ready: () => boolean): Promise<void> {
    const deadline = performance.now() + ANSWER_MS
    while (!ready()) {
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`no answer within ${ANSWER_MS} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }
}
