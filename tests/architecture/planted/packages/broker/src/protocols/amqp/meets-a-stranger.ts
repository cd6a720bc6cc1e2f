// Planted: protocol rooms are strangers to one another, in re-exports and lazy imports too.
export { stranger } from '../other/stranger.ts'
export const later = () => import('../other/stranger.ts')
