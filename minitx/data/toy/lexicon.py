"""The vocabulary: one row for each concept, with its forms and its grammatical facts in every language.

Reading a row:
    English   the word, its irregular plural or past tense, its preposition; mass nouns their portion (a cup of tea).
    Spanish   nouns carry their gender, mass nouns their portion too; `estar` marks adjectives for passing states.
    Korean    nouns carry the counter that numbers need; verbs and adjectives stand in the dictionary form in -다.
    Chinese   nouns carry their measure word; adjectives that need 的 before a noun are written with it.
Kinds say who may do what to whom: a verb lists the kinds of its subjects and of its objects, an adjective those that it
can describe; `alive`, `things` and `goods` stand for several.
"""

from dataclasses import dataclass
from functools import cache

_NOUNS = """
  man         | person     | man men         | hombre m        | 남자 명     | 男人 个
  woman       | person     | woman women     | mujer f         | 여자 명     | 女人 个
  boy         | person     | boy             | niño m          | 소년 명     | 男孩 个
  girl        | person     | girl            | niña f          | 소녀 명     | 女孩 个
  king        | person     | king            | rey m           | 왕 분       | 国王 位
  queen       | person     | queen           | reina f         | 왕비 분     | 王后 位
  uncle       | kin        | uncle           | tío m           | 삼촌 분     | 叔叔 位
  aunt        | kin        | aunt            | tía f           | 이모 분     | 阿姨 位
  knight      | person     | knight          | caballero m     | 기사 명     | 骑士 名
  witch       | person     | witch           | bruja f         | 마녀 명     | 女巫 名
  grandfather | kin        | grandfather     | abuelo m        | 할아버지 분 | 爷爷 位
  grandmother | kin        | grandmother     | abuela f        | 할머니 분   | 奶奶 位

  maria       | name       | maria           | maría f         | 마리아      | 玛丽亚
  carlos      | name       | carlos          | carlos m        | 카를로스    | 卡洛斯
  elena       | name       | elena           | elena f         | 엘레나      | 埃琳娜
  sofia       | name       | sofia           | sofía f         | 소피아      | 索菲亚
  juan        | name       | juan            | juan m          | 후안        | 胡安
  david       | name       | david           | david m         | 다비드      | 大卫
  jieun       | name       | jieun           | jieun f         | 지은        | 智恩
  minjun      | name       | minjun          | minjun m        | 민준        | 敏俊
  xiaolan     | name       | xiaolan         | xiaolan f       | 샤오란      | 小兰
  xiaowei     | name       | xiaowei         | xiaowei m       | 샤오웨이    | 小伟

  singer      | profession | singer          | cantante        | 가수        | 歌手
  student     | profession | student         | estudiante      | 학생        | 学生
  artist      | profession | artist          | artista         | 예술가      | 艺术家
  journalist  | profession | journalist      | periodista      | 기자        | 记者
  dentist     | profession | dentist         | dentista        | 치과의사    | 牙医
  athlete     | profession | athlete         | atleta          | 운동선수    | 运动员

  cat         | animal     | cat             | gato m          | 고양이 마리 | 猫 只
  dog         | animal     | dog             | perro m         | 개 마리     | 狗 条
  horse       | animal     | horse           | caballo m       | 말 마리     | 马 匹
  cow         | animal     | cow             | vaca f          | 소 마리     | 奶牛 头
  bird        | animal     | bird            | pájaro m        | 새 마리     | 鸟 只
  rabbit      | animal     | rabbit          | conejo m        | 토끼 마리   | 兔子 只
  mouse       | animal     | mouse mice      | ratón m         | 쥐 마리     | 老鼠 只
  bear        | animal     | bear            | oso m           | 곰 마리     | 熊 头
  fox         | animal     | fox             | zorro m         | 여우 마리   | 狐狸 只
  elephant    | animal     | elephant        | elefante m      | 코끼리 마리 | 大象 头
  duck        | animal     | duck            | pato m          | 오리 마리   | 鸭子 只
  frog        | animal     | frog            | rana f          | 개구리 마리 | 青蛙 只
  giraffe     | animal     | giraffe         | jirafa f        | 기린 마리   | 长颈鹿 只
  wolf        | animal     | wolf wolves     | lobo m          | 늑대 마리   | 狼 匹

  apple       | fruit      | apple           | manzana f       | 사과 개     | 苹果 个
  orange      | fruit      | orange          | naranja f       | 오렌지 개   | 橙子 个
  banana      | fruit      | banana          | plátano m       | 바나나 개   | 香蕉 根
  tomato      | fruit      | tomato tomatoes | tomate m        | 토마토 개   | 西红柿 个
  carrot      | fruit      | carrot          | zanahoria f     | 당근 개     | 胡萝卜 根
  egg         | fruit      | egg             | huevo m         | 달걀 개     | 鸡蛋 个

  bread       | food       | bread piece     | pan m trozo     | 빵 조각     | 面包 块
  cheese      | food       | cheese piece    | queso m trozo   | 치즈 조각   | 奶酪 块
  meat        | food       | meat piece      | carne f trozo   | 고기 조각   | 肉 块
  cake        | food       | cake piece      | pastel m trozo  | 케이크 조각 | 蛋糕 块
  rice        | food       | rice bowl       | arroz m tazón   | 밥 그릇     | 米饭 碗
  pasta       | food       | pasta bowl      | pasta f tazón   | 파스타 그릇 | 意大利面 碗
  water       | drink      | water bottle    | agua f botella  | 물 병       | 水 瓶
  milk        | drink      | milk bottle     | leche f botella | 우유 병     | 牛奶 瓶
  juice       | drink      | juice bottle    | zumo m botella  | 주스 병     | 果汁 瓶
  coffee      | drink      | coffee cup      | café m taza     | 커피 잔     | 咖啡 杯
  tea         | drink      | tea cup         | té m taza       | 차 잔       | 茶 杯

  book        | text       | book            | libro m         | 책 권       | 书 本
  letter      | text       | letter          | carta f         | 편지 통     | 信 封
  poem        | text       | poem            | poema m         | 시 편       | 诗 首
  novel       | text       | novel           | novela f        | 소설 편     | 小说 部
  hat         | clothes    | hat             | sombrero m      | 모자 개     | 帽子 顶
  shirt       | clothes    | shirt           | camisa f        | 셔츠 벌     | 衬衫 件
  coat        | clothes    | coat            | abrigo m        | 외투 벌     | 大衣 件
  skirt       | clothes    | skirt           | falda f         | 치마 벌     | 裙子 条
  car         | vehicle    | car             | coche m         | 자동차 대   | 汽车 辆
  bicycle     | vehicle    | bicycle         | bicicleta f     | 자전거 대   | 自行车 辆
  boat        | vehicle    | boat            | barco m         | 배 척       | 船 条
  table       | furniture  | table           | mesa f          | 탁자 개     | 桌子 张
  chair       | furniture  | chair           | silla f         | 의자 개     | 椅子 把
  lamp        | furniture  | lamp            | lámpara f       | 램프 개     | 灯 盏
  bed         | furniture  | bed             | cama f          | 침대 개     | 床 张
  ball        | toy        | ball            | pelota f        | 공 개       | 球 个
  doll        | toy        | doll            | muñeca f        | 인형 개     | 娃娃 个
  guitar      | toy        | guitar          | guitarra f      | 기타 대     | 吉他 把
  watch       | toy        | watch           | reloj m         | 시계 개     | 手表 块
  ring        | toy        | ring            | anillo m        | 반지 개     | 戒指 枚
  key         | toy        | key             | llave f         | 열쇠 개     | 钥匙 把
  flower      | plant      | flower          | flor f          | 꽃 송이     | 花 朵
  tree        | plant      | tree            | árbol m         | 나무 그루   | 树 棵
"""

_PLACES = """
  kitchen    | room | kitchen    | cocina f      | 부엌     | 厨房
  garden     | room | garden     | jardín m      | 정원     | 花园
  park       | room | park       | parque m      | 공원     | 公园
  school     | room | school     | escuela f     | 학교     | 学校
  market     | room | market     | mercado m     | 시장     | 市场
  library    | room | library    | biblioteca f  | 도서관   | 图书馆
  hospital   | room | hospital   | hospital m    | 병원     | 医院
  museum     | room | museum     | museo m       | 박물관   | 博物馆
  restaurant | room | restaurant | restaurante m | 식당     | 餐厅
  hotel      | room | hotel      | hotel m       | 호텔     | 酒店
  theater    | room | theater    | teatro m      | 극장     | 剧院
  office     | room | office     | oficina f     | 사무실   | 办公室
  forest     | room | forest     | bosque m      | 숲       | 森林
  castle     | room | castle     | castillo m    | 성       | 城堡
  church     | room | church     | iglesia f     | 교회     | 教堂
  station    | room | station    | estación f    | 역       | 车站
  village    | room | village    | pueblo m      | 마을     | 村子
  madrid     | city | madrid     | madrid        | 마드리드 | 马德里
  seoul      | city | seoul      | seúl          | 서울     | 首尔
  london     | city | london     | londres       | 런던     | 伦敦
  beijing    | city | beijing    | pekín         | 베이징   | 北京
  paris      | city | paris      | parís         | 파리     | 巴黎
"""

_ADJECTIVES = """
  red       | animal things plant                      | rojo             | 빨갛다   | 红色 的
  yellow    | animal things plant                      | amarillo         | 노랗다   | 黄色 的
  blue      | animal things plant                      | azul             | 파랗다   | 蓝色 的
  black     | animal things                            | negro            | 까맣다   | 黑色 的
  white     | animal things plant                      | blanco           | 하얗다   | 白色 的
  big       | animal fruit vehicle furniture toy plant | grande           | 크다     | 大
  small     | animal fruit vehicle furniture toy plant | pequeño          | 작다     | 小
  new       | text things                              | nuevo            | 새롭다   | 新
  expensive | fruit text things                        | caro             | 비싸다   | 贵 的
  cheap     | fruit text things                        | barato           | 싸다     | 便宜 的
  pretty    | animal things plant                      | bonito           | 예쁘다   | 漂亮 的
  heavy     | vehicle furniture toy                    | pesado           | 무겁다   | 重 的
  light     | things                                   | ligero           | 가볍다   | 轻 的
  useful    | text things                              | útil             | 유용하다 | 有用 的
  dirty     | animal fruit things                      | sucio estar      | 더럽다   | 脏 的
  strange   | alive profession text clothes plant      | extraño          | 이상하다 | 奇怪 的
  long      | text clothes                             | largo            | 길다     | 长
  famous    | person profession text                   | famoso           | 유명하다 | 有名 的
  clever    | alive profession                         | inteligente      | 똑똑하다 | 聪明 的
  strong    | alive profession                         | fuerte           | 강하다   | 强壮 的
  brave     | alive profession                         | valiente         | 용감하다 | 勇敢 的
  quiet     | alive profession                         | tranquilo        | 조용하다 | 安静 的
  tired     | alive                                    | cansado estar    | 피곤하다 | 疲惫 的
  hungry    | alive                                    | hambriento estar | 배고프다 | 饥饿 的
  sad       | alive                                    | triste estar     | 슬프다   | 伤心 的
  happy     | alive                                    | feliz estar      | 행복하다 | 快乐 的
  fresh     | fruit food                               | fresco           | 신선하다 | 新鲜 的
  sweet     | fruit drink                              | dulce            | 달콤하다 | 甜 的
  delicious | fruit food                               | delicioso        | 맛있다   | 好吃 的
  hot       | food drink                               | caliente estar   | 뜨겁다   | 热 的
  cold      | food drink                               | frío estar       | 차갑다   | 冷 的
"""

# `manner`: can be done slowly, quickly, quietly or carefully. `no past`: "read" is spelled like its own present tense.
_VERBS = """
  sleep    | alive  |                                     |         | sleep slept | dormir    | 자다       | 睡觉
  rest     | alive  |                                     |         | rest        | descansar | 쉬다       | 休息
  play     | alive  |                                     |         | play        | jugar     | 놀다       | 玩
  run      | alive  |                                     |         | run ran     | correr    | 달리다     | 奔跑
  work     | person |                                     | manner  | work        | trabajar  | 일하다     | 工作
  study    | person |                                     | manner  | study       | estudiar  | 공부하다   | 学习
  sing     | person |                                     |         | sing sang   | cantar    | 노래하다   | 唱歌
  dance    | person |                                     | manner  | dance       | bailar    | 춤추다     | 跳舞
  cry      | person |                                     |         | cry         | llorar    | 울다       | 哭
  eat      | alive  | fruit food                          | manner  | eat ate     | comer     | 먹다       | 吃
  drink    | alive  | drink                               | manner  | drink drank | beber     | 마시다     | 喝
  read     | person | text                                | no past | read        | leer      | 읽다       | 读
  write    | person | text                                | manner  | write wrote | escribir  | 쓰다       | 写
  draw     | person | vehicle furniture plant toy clothes | manner  | draw drew   | dibujar   | 그리다     | 画
  clean    | person | vehicle furniture toy               | manner  | clean       | limpiar   | 닦다       | 擦
  push     | alive  | vehicle furniture                   | manner  | push        | empujar   | 밀다       | 推
  buy      | person | goods                               |         | buy bought  | comprar   | 사다       | 买
  sell     | person | goods                               |         | sell sold   | vender    | 팔다       | 卖
  fix      | person | vehicle furniture toy               | manner  | fix         | arreglar  | 고치다     | 修
  hide     | alive  | fruit text clothes toy              | manner  | hide hid    | esconder  | 숨기다     | 藏
  see      | alive  | alive vehicle plant                 |         | see saw     | ver       | 보다       | 看见 看不见
  look for | alive  | alive fruit text clothes toy        |         | look - for  | buscar    | 찾아다니다 | 找
  wait for | alive  | alive                               |         | wait - for  | esperar   | 기다리다   | 等
  chase    | alive  | alive vehicle                       |         | chase       | perseguir | 쫓다       | 追
  hug      | person | alive                               |         | hug         | abrazar   | 껴안다     | 拥抱
  help     | alive  | alive                               |         | help        | ayudar    | 돕다       | 帮助
  give     | person | fruit text clothes toy plant        | giving  | give gave   | dar       | 주다       | 给
  lend     | person | text clothes vehicle toy            | giving  | lend lent   | prestar   | 빌려주다   | 借给
  send     | person | text clothes toy plant              | giving  | send sent   | enviar    | 보내다     | 寄给
"""

_ADVERBS = """
  always    | frequency | always    | siempre         | 항상       | 总是
  often     | frequency | often     | a menudo        | 자주       | 经常
  sometimes | frequency | sometimes | a veces         | 가끔       | 有时
  slowly    | manner    | slowly    | despacio        | 천천히     | 慢慢地
  quickly   | manner    | quickly   | rápidamente     | 빨리       | 飞快地
  quietly   | manner    | quietly   | silenciosamente | 조용히     | 静静地
  carefully | manner    | carefully | cuidadosamente  | 조심스럽게 | 小心地
  happily   | manner    | happily   | alegremente     | 즐겁게     | 高兴地
"""

_TIMES = """
  yesterday  | past                | yesterday    | ayer              | 어제      | 昨天
  last night | past                | last night   | anoche            | 어젯밤에  | 昨晚
  last week  | past                | last week    | la semana pasada  | 지난주에  | 上周
  last year  | past                | last year    | el año pasado     | 작년에    | 去年
  tomorrow   | future              | tomorrow     | mañana            | 내일      | 明天
  tonight    | future              | tonight      | esta noche        | 오늘 밤에 | 今晚
  next week  | future              | next week    | la próxima semana | 다음 주에 | 下周
  next year  | future              | next year    | el próximo año    | 내년에    | 明年
  every day  | present             | every day    | todos los días    | 매일      | 每天
  every week | present             | every week   | todas las semanas | 매주      | 每周
  today      | present future      | today        | hoy               | 오늘      | 今天
  this week  | present future      | this week    | esta semana       | 이번 주에 | 这周
  this year  | present future      | this year    | este año          | 올해      | 今年
  monday     | past future         | on monday    | el lunes          | 월요일에  | 星期一
  tuesday    | past future         | on tuesday   | el martes         | 화요일에  | 星期二
  wednesday  | past future         | on wednesday | el miércoles      | 수요일에  | 星期三
  thursday   | past future         | on thursday  | el jueves         | 목요일에  | 星期四
  friday     | past future         | on friday    | el viernes        | 금요일에  | 星期五
  saturday   | past future         | on saturday  | el sábado         | 토요일에  | 星期六
  sunday     | past future         | on sunday    | el domingo        | 일요일에  | 星期天
  spring     | present past future | in spring    | en primavera      | 봄에      | 春天
  summer     | present past future | in summer    | en verano         | 여름에    | 夏天
  autumn     | present past future | in autumn    | en otoño          | 가을에    | 秋天
  winter     | present past future | in winter    | en invierno       | 겨울에    | 冬天
"""

# The numbers 1 to 10: a counter follows the Korean ones, a measure word the Chinese ones.
NUMBERS = {
    "en": "a two three four five six seven eight nine ten".split(),
    "es": "un dos tres cuatro cinco seis siete ocho nueve diez".split(),
    "ko": "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열".split(),
    "zh": "一 两 三 四 五 六 七 八 九 十".split(),
}


@dataclass(frozen=True, eq=False)
class Concept:
    """One row: `concept.es` is the Spanish cell, a tuple of the form and the facts written beside it."""

    name: str
    kind: str = ""  # of a noun, a place, an adverb
    subjects: tuple[str, ...] = ()  # kinds, of a verb
    objects: tuple[str, ...] = ()  # kinds, of a verb, or those that an adjective describes
    tenses: tuple[str, ...] = ()  # of a time
    flag: str = ""  # of a verb: manner, giving, no past
    en: tuple[str, ...] = ()
    es: tuple[str, ...] = ()
    ko: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return self.name


_SEVERAL_KINDS = {
    "alive": "person animal",
    "things": "clothes vehicle furniture toy",
    "goods": "fruit food drink text clothes vehicle furniture toy plant",
}


def _kinds(cell: str) -> tuple[str, ...]:
    return tuple(kind for word in cell.split() for kind in _SEVERAL_KINDS.get(word, word).split())


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.strip()]


def _cells(*cells: str) -> dict[str, tuple[str, ...]]:
    return {code: tuple(cell.split()) for code, cell in zip(("en", "es", "ko", "zh"), cells, strict=True)}


def _phrases(*cells: str) -> dict[str, tuple[str, ...]]:
    return {code: (cell,) for code, cell in zip(("en", "es", "ko", "zh"), cells, strict=True)}


NOUNS = [Concept(name, kind, **_cells(*forms)) for name, kind, *forms in _rows(_NOUNS)]
PLACES = [Concept(name, kind, **_cells(*forms)) for name, kind, *forms in _rows(_PLACES)]
ADVERBS = [Concept(name, kind, **_phrases(*forms)) for name, kind, *forms in _rows(_ADVERBS)]
TIMES = [Concept(name, tenses=tuple(tenses.split()), **_phrases(*forms)) for name, tenses, *forms in _rows(_TIMES)]
ADJECTIVES = [
    Concept(name, objects=_kinds(kinds), **_cells(name, *forms)) for name, kinds, *forms in _rows(_ADJECTIVES)
]
VERBS = [
    Concept(name, subjects=_kinds(subjects), objects=_kinds(objects), flag=flag, **_cells(*forms))
    for name, subjects, objects, flag, *forms in _rows(_VERBS)
]
COLOURS = frozenset(ADJECTIVES[:5])  # nothing is "very red" here; Chinese says 是红色的


@cache
def nouns_of(*kinds: str) -> list[Concept]:
    """The nouns of these kinds; kin are persons, and so are names, which are asked for by themselves."""
    return [noun for noun in NOUNS if noun.kind in kinds or (suits(noun, kinds) and noun.kind != "name")]


@cache
def adjectives_for(noun: Concept) -> list[Concept]:
    """The adjectives that can describe a noun."""
    return [adjective for adjective in ADJECTIVES if suits(noun, adjective.objects)]


@cache
def verbs_with(noun: Concept, as_subject: bool) -> list[Concept]:
    """The verbs with an object that a noun can be the subject of, or the object; giving takes more than these two."""
    two = [verb for verb in VERBS if verb.objects and verb.flag != "giving"]
    return [verb for verb in two if suits(noun, verb.subjects if as_subject else verb.objects)]


def suits(noun: Concept, kinds: tuple[str, ...]) -> bool:
    """Whether a noun is of one of these kinds."""
    return noun.kind in kinds or (is_person(noun) and "person" in kinds)


def is_person(noun: Concept) -> bool:
    """Whether a noun stands for somebody: a woman, an uncle, maria."""
    return noun.kind in ("person", "kin", "name")


def is_mass(noun: Concept) -> bool:
    """Whether a noun is counted in portions only: bread, a piece of bread."""
    return noun.kind in ("food", "drink")
