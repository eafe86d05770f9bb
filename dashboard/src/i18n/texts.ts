import type { RangeName } from "../history/ranges";
import type { KnownMeasurement } from "../state/measurements";

export const LANGUAGES = ["en", "pt-BR"] as const;
export type Language = (typeof LANGUAGES)[number];

/** Measurements that many devices send by these names. */
type CommonMeasurement =
  | "battery"
  | "concentration"
  | "current"
  | "dew_point"
  | "distance"
  | "energy"
  | "flow"
  | "level"
  | "light"
  | "moisture"
  | "noise"
  | "power"
  | "speed"
  | "voltage"
  | "weight";

type Ago = (amount: string) => string;

/** Every sentence of the page. A language that lacks one does not compile. */
export interface Texts {
  readonly languageName: string;
  readonly languageShort: string;
  readonly skipToContent: string;
  readonly connection: Readonly<Record<"connecting" | "live" | "reconnecting" | "offline", string>>;
  readonly trouble: {
    readonly tooMany: string;
    readonly restarting: string;
    readonly tooSlow: string;
    readonly refused: (reason: string) => string;
  };
  readonly header: {
    readonly settings: string;
    readonly language: string;
    readonly theme: string;
    readonly themes: Readonly<Record<"auto" | "light" | "dark", string>>;
    readonly docs: string;
    readonly signOut: string;
  };
  readonly sensors: (count: number, shown: string) => string;
  readonly perSecond: (rate: string) => string;
  readonly provisional: {
    readonly waiting: (count: number, shown: string) => string;
    readonly began: string;
    readonly ended: string;
    readonly mark: string;
    readonly hint: string;
  };
  readonly waiting: { readonly title: string; readonly unreachable: string };
  readonly signIn: {
    readonly title: string;
    readonly lead: string;
    readonly key: string;
    readonly submit: string;
    readonly busy: string;
    readonly help: string;
    readonly helpLink: string;
  };
  readonly faults: {
    readonly empty: string;
    readonly wrongKey: string;
    readonly notTheReadKey: string;
    readonly tooManyTries: (seconds: number | null) => string;
    readonly unreachable: string;
    readonly ended: string;
    readonly unexpected: (status: number) => string;
  };
  readonly empty: {
    readonly title: string;
    readonly lead: string;
    readonly example: string;
    readonly key: string;
    readonly copy: string;
    readonly copied: string;
    readonly copyByHand: string;
  };
  readonly board: {
    readonly title: string;
    readonly search: string;
    readonly noMatch: (search: string) => string;
    readonly more: (shown: string, matched: string) => string;
    readonly allMeasurements: (count: number) => string;
    readonly fewerMeasurements: string;
    readonly stale: string;
    readonly longSilent: string;
  };
  readonly history: {
    readonly range: string;
    readonly ranges: Readonly<Record<RangeName, string>>;
    readonly loading: string;
    readonly late: string;
    readonly none: Readonly<Record<RangeName, string>>;
    readonly csv: (sensor: string, range: string) => string;
  };
  readonly measurements: Readonly<Record<KnownMeasurement | CommonMeasurement, string>>;
  readonly chart: {
    readonly label: (name: string, latest: string, low: string, high: string) => string;
  };
  readonly ago: {
    readonly now: string;
    readonly seconds: Ago;
    readonly minutes: Ago;
    readonly hours: Ago;
    readonly days: Ago;
  };
}

const en: Texts = {
  languageName: "English",
  languageShort: "EN",
  skipToContent: "Skip to the readings",
  connection: {
    connecting: "Connecting",
    live: "Live",
    reconnecting: "Reconnecting",
    offline: "Offline",
  },
  trouble: {
    tooMany:
      "The server already has as many open pages as it allows for this key (MAX_WS_CONNECTIONS_PER_KEY). Close another page; this one tries again every half minute.",
    restarting: "The server is restarting. The page comes back by itself.",
    tooSlow: "This page took no readings for a while. It connects again and catches up.",
    refused: (reason) => `The server closed the connection: ${reason}`,
  },
  header: {
    settings: "Settings",
    language: "Language",
    theme: "Theme",
    themes: { auto: "Automatic", light: "Light", dark: "Dark" },
    docs: "API",
    signOut: "Sign out",
  },
  sensors: (count, shown) => `${shown} ${count === 1 ? "sensor" : "sensors"}`,
  perSecond: (rate) => `${rate} readings/s`,
  provisional: {
    waiting: (count, shown) =>
      `${shown} ${count === 1 ? "reading waits" : "readings wait"} for the database`,
    began: "New readings wait for the database.",
    ended: "No more readings are known to wait for the database.",
    mark: "Waiting",
    hint: "The newest reading is safe on the server and waits for its database.",
  },
  waiting: {
    title: "Looking for readings…",
    unreachable: "The server does not answer. Trying again…",
  },
  signIn: {
    title: "Sign in",
    lead: "Enter the read key to see the live readings.",
    key: "Read key",
    submit: "Show the readings",
    busy: "Checking…",
    help: "The read key was printed when the server first started. If you chose your own, it is API_KEY_WS in the server’s .env file.",
    helpLink: "The start-up message also has a link that signs you in.",
  },
  faults: {
    empty: "Enter the read key first.",
    wrongKey: "The server does not know this key. Check for missing characters and try again.",
    notTheReadKey:
      "This key is known, but it is not the read key. Use the one called API_KEY_WS, not API_KEY or ADMIN_KEY.",
    tooManyTries: (seconds) =>
      seconds === null
        ? "Too many wrong keys from this address. Wait a little, then try again."
        : `Too many wrong keys from this address. Try again in ${seconds} s.`,
    unreachable: "The server does not answer. Check that it is running and try again.",
    ended: "The session has ended. Sign in again to go on.",
    unexpected: (status) => `The server answered with an unexpected status (${status}).`,
  },
  empty: {
    title: "Ready for the first reading",
    lead: "Nothing has arrived yet. Send a reading and it appears here at once, no reload needed.",
    example: "Example command",
    key: "Put your ingest key in place of YOUR_API_KEY. It was printed at the server’s first start, or set as API_KEY in .env.",
    copy: "Copy",
    copied: "Copied",
    copyByHand: "Selected: press Ctrl+C",
  },
  board: {
    title: "Live readings",
    search: "Find a sensor",
    noMatch: (search) => `No sensor matches “${search}”.`,
    more: (shown, matched) => `Showing ${shown} of ${matched} sensors. Search to see the others.`,
    allMeasurements: (count) => `Show all ${count} measurements`,
    fewerMeasurements: "Show fewer measurements",
    stale: "Silent",
    longSilent: "Not heard for more than a day",
  },
  history: {
    range: "Time shown",
    ranges: {
      "1h": "Last hour",
      "24h": "Last 24 hours",
      "7d": "Last 7 days",
      "30d": "Last 30 days",
    },
    loading: "Loading the history…",
    late: "The history could not be loaded. Trying again…",
    none: {
      "1h": "No readings in the last hour",
      "24h": "No readings in the last 24 hours",
      "7d": "No readings in the last 7 days",
      "30d": "No readings in the last 30 days",
    },
    csv: (sensor, range) => `Readings of ${sensor} as a CSV file: ${range.toLowerCase()}`,
  },
  measurements: {
    temperature: "Temperature",
    humidity: "Humidity",
    pressure: "Pressure",
    battery: "Battery",
    concentration: "Concentration",
    current: "Current",
    dew_point: "Dew point",
    distance: "Distance",
    energy: "Energy",
    flow: "Flow",
    level: "Level",
    light: "Light",
    moisture: "Moisture",
    noise: "Noise",
    power: "Power",
    speed: "Speed",
    voltage: "Voltage",
    weight: "Weight",
  },
  chart: {
    label: (name, latest, low, high) => `${name}: now ${latest}, between ${low} and ${high}`,
  },
  ago: {
    now: "just now",
    seconds: (amount) => `${amount} s ago`,
    minutes: (amount) => `${amount} min ago`,
    hours: (amount) => `${amount} h ago`,
    days: (amount) => `${amount} d ago`,
  },
};

const ptBR: Texts = {
  languageName: "Português",
  languageShort: "PT",
  skipToContent: "Ir para as leituras",
  connection: {
    connecting: "Conectando",
    live: "Ao vivo",
    reconnecting: "Reconectando",
    offline: "Sem rede",
  },
  trouble: {
    tooMany:
      "O servidor já tem tantas páginas abertas quanto permite para esta chave (MAX_WS_CONNECTIONS_PER_KEY). Feche outra página; esta tenta de novo a cada meio minuto.",
    restarting: "O servidor está reiniciando. A página volta sozinha.",
    tooSlow:
      "Esta página ficou um tempo sem receber leituras. Ela reconecta e recebe as que faltam.",
    refused: (reason) => `O servidor encerrou a conexão: ${reason}`,
  },
  header: {
    settings: "Preferências",
    language: "Idioma",
    theme: "Tema",
    themes: { auto: "Automático", light: "Claro", dark: "Escuro" },
    docs: "API",
    signOut: "Sair",
  },
  sensors: (count, shown) => `${shown} ${count === 1 ? "sensor" : "sensores"}`,
  perSecond: (rate) => `${rate} leituras/s`,
  provisional: {
    waiting: (count, shown) =>
      `${shown} ${count === 1 ? "leitura aguarda" : "leituras aguardam"} o banco de dados`,
    began: "Novas leituras aguardam o banco de dados.",
    ended: "Não se sabe de mais leituras que aguardem o banco de dados.",
    mark: "Aguardando",
    hint: "A leitura mais recente está segura no servidor e aguarda o banco de dados.",
  },
  waiting: {
    title: "Procurando leituras…",
    unreachable: "O servidor não responde. Tentando de novo…",
  },
  signIn: {
    title: "Entrar",
    lead: "Informe a chave de leitura para ver as leituras ao vivo.",
    key: "Chave de leitura",
    submit: "Ver as leituras",
    busy: "Verificando…",
    help: "A chave de leitura foi mostrada quando o servidor iniciou pela primeira vez. Se você escolheu a sua, ela é API_KEY_WS no arquivo .env do servidor.",
    helpLink: "A mensagem de início também traz um link que entra direto.",
  },
  faults: {
    empty: "Informe primeiro a chave de leitura.",
    wrongKey: "O servidor não conhece esta chave. Veja se falta algum caractere e tente de novo.",
    notTheReadKey:
      "Esta chave existe, mas não é a de leitura. Use a que se chama API_KEY_WS, não API_KEY nem ADMIN_KEY.",
    tooManyTries: (seconds) =>
      seconds === null
        ? "Muitas chaves erradas vindas deste endereço. Espere um pouco e tente de novo."
        : `Muitas chaves erradas vindas deste endereço. Tente de novo em ${seconds} s.`,
    unreachable: "O servidor não responde. Veja se ele está ligado e tente de novo.",
    ended: "A sessão terminou. Entre de novo para continuar.",
    unexpected: (status) => `O servidor respondeu com um estado inesperado (${status}).`,
  },
  empty: {
    title: "Pronto para a primeira leitura",
    lead: "Nada chegou ainda. Envie uma leitura e ela aparece aqui na hora, sem recarregar.",
    example: "Comando de exemplo",
    key: "Troque YOUR_API_KEY pela sua chave de envio. Ela foi mostrada no primeiro início do servidor, ou definida como API_KEY no .env.",
    copy: "Copiar",
    copied: "Copiado",
    copyByHand: "Selecionado: tecle Ctrl+C",
  },
  board: {
    title: "Leituras ao vivo",
    search: "Buscar sensor",
    noMatch: (search) => `Nenhum sensor corresponde a “${search}”.`,
    more: (shown, matched) =>
      `Mostrando ${shown} de ${matched} sensores. Busque para ver os outros.`,
    allMeasurements: (count) => `Mostrar as ${count} medições`,
    fewerMeasurements: "Mostrar menos medições",
    stale: "Em silêncio",
    longSilent: "Sem notícias há mais de um dia",
  },
  history: {
    range: "Período mostrado",
    ranges: {
      "1h": "Última hora",
      "24h": "Últimas 24 horas",
      "7d": "Últimos 7 dias",
      "30d": "Últimos 30 dias",
    },
    loading: "Carregando o histórico…",
    late: "Não foi possível carregar o histórico. Tentando de novo…",
    none: {
      "1h": "Sem leituras na última hora",
      "24h": "Sem leituras nas últimas 24 horas",
      "7d": "Sem leituras nos últimos 7 dias",
      "30d": "Sem leituras nos últimos 30 dias",
    },
    csv: (sensor, range) => `Leituras de ${sensor} em um arquivo CSV: ${range.toLowerCase()}`,
  },
  measurements: {
    temperature: "Temperatura",
    humidity: "Umidade",
    pressure: "Pressão",
    battery: "Bateria",
    concentration: "Concentração",
    current: "Corrente",
    dew_point: "Ponto de orvalho",
    distance: "Distância",
    energy: "Energia",
    flow: "Vazão",
    level: "Nível",
    light: "Luz",
    moisture: "Teor de água",
    noise: "Ruído",
    power: "Potência",
    speed: "Velocidade",
    voltage: "Tensão",
    weight: "Peso",
  },
  chart: {
    label: (name, latest, low, high) => `${name}: agora ${latest}, entre ${low} e ${high}`,
  },
  ago: {
    now: "agora mesmo",
    seconds: (amount) => `há ${amount} s`,
    minutes: (amount) => `há ${amount} min`,
    hours: (amount) => `há ${amount} h`,
    days: (amount) => `há ${amount} d`,
  },
};

export const TEXTS: Readonly<Record<Language, Texts>> = { en, "pt-BR": ptBR };
