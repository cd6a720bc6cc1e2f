/** A port of loopback that nobody listens on now. */
export declare function freePort(): Promise<number>
