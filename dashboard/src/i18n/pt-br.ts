import type { Texts } from "./texts";

export const ptBR: Texts = {
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
