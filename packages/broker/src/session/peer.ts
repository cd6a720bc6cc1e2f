/** Who is at the other end of a connection. */
export interface Peer {
  readonly address: string
  readonly port: number
  /** The peer of the socket itself is this machine. Never true for an address that a proxy told us. */
  readonly loopback: boolean
  readonly tls: boolean
}
