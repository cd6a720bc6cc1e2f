import { BlockList, isIP } from 'node:net'

const loopback = new BlockList()
loopback.addAddress('::1', 'ipv6')

/** Whether an address of a socket is this machine. IPv4 addresses in IPv6 form (`::ffff:127.0.0.1`) count as IPv4. */
export function isLoopback(address: string): boolean {
  const plain = address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
  const family = isIP(plain)
  // Every accepted connection asks, in one of these two forms; the list knows the other ways to write ::1.
  if (family === 4) return plain.startsWith('127.')
  return plain === '::1' || (family === 6 && loopback.check(plain, 'ipv6'))
}

/** Whether listening on `host` keeps other machines out. A name other than localhost may be any address. */
export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopback(host)
}
