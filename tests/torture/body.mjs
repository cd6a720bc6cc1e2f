// A body carries its id, and filling by which a wrong byte is noticed.
import { createHash } from 'node:crypto'

export function hashOf(body) {
  return createHash('sha1').update(body).digest('base64url')
}

export function bodyOf(id, size) {
  const head = `${id} `
  return Buffer.from(head.padEnd(size, head))
}

export function idOf(body) {
  const end = body.indexOf(0x20)
  return body.subarray(0, end === -1 ? 64 : end).toString()
}
