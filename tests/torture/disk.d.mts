export declare function whyNoPowerCut(): Promise<string | null>
