// Holds connections that say nothing: logged in, one channel open, heartbeats off.
//   node bench/load/idle.mjs <port> <count>     prints "ready" and waits for the end of its input
import { connect } from 'node:net'

const [port, count] = process.argv.slice(2).map(Number)
/** Logged in at the same time: enough to be quick, few enough for any backlog of a listener. */
const AT_ONCE = 50

const frame = (type, channel, payload) => {
  const head = Buffer.alloc(7)
  head.writeUInt8(type, 0)
  head.writeUInt16BE(channel, 1)
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([0xce])])
}
const HEADER = Buffer.from('AMQP\0\0\x09\x01', 'latin1')
const START_OK = frame(1, 0, Buffer.from('\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US', 'latin1'))
const TUNE_OK_OPEN = Buffer.concat([
  frame(1, 0, Buffer.from('\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\0', 'latin1')),
  frame(1, 0, Buffer.from('\0\x0a\0\x28\x01/\0\0', 'latin1')),
])
const CHANNEL_OPEN = frame(1, 1, Buffer.from('\0\x14\0\x0a\0', 'latin1'))

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' })
    let bytes = Buffer.alloc(0)
    socket.on('error', reject)
    socket.on('connect', () => socket.write(HEADER))
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      while (bytes.length >= 8) {
        const size = bytes.readUInt32BE(3)
        if (bytes.length < size + 8) return
        const method = bytes.readUInt32BE(7)
        bytes = bytes.subarray(size + 8)
        if (method === 0x000a000a) socket.write(START_OK)
        else if (method === 0x000a001e) socket.write(TUNE_OK_OPEN)
        else if (method === 0x000a0029) socket.write(CHANNEL_OPEN)
        else if (method === 0x0014000b) resolve(socket)
        else reject(new Error(`unexpected method ${method.toString(16)}`))
      }
    })
  })
}

for (let opened = 0; opened < count; opened += AT_ONCE) {
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - opened) }, open))
}
console.log('ready')
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
