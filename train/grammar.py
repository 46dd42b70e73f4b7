"""Generates everyday sentences: templates filled from word classes, numbers spelled out."""

import random
import re

ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
ONES += ["seventeen", "eighteen", "nineteen"]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
]
ORDINALS += ["fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth", "twentieth"]
ORDINALS += ["twenty " + o for o in ORDINALS[:9]] + ["thirtieth", "thirty first"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

# One word class per line. A template names a class in braces. Classes may refer to other classes.
_CLASSES = """
name: Anna|Ben|Carla|David|Emma|Frank|Grace|Henry|Irene|Jack|Karen|Laura|Michael|Nora|Oliver|Paul|Rachel|Sam|Tom|Lucy|\
James|Mary|John|Linda|Robert|Susan|Peter|Julia|Daniel|Alice|Kevin|Sarah|Martin|Helen|George|Jenny|Mark|Sophie|Adam|Kate
relative: mother|father|sister|brother|son|daughter|aunt|uncle|wife|husband|grandmother|grandfather|cousin|friend|\
neighbor|boss|teacher|doctor|roommate|landlord
city: London|Paris|Boston|Chicago|Berlin|Madrid|Rome|Tokyo|Denver|Dallas|Dublin|Sydney|Toronto|Seattle|New York|Vienna|\
Miami|Oxford|Lisbon|Prague|Houston|Atlanta|Portland|Glasgow|San Francisco
room: kitchen|bedroom|living room|bathroom|garage|hallway|office|dining room|basement|garden|attic|porch
device: lights|lamp|fan|heater|radio|television|oven|alarm|music|heating|printer|computer|dishwasher|washing machine
place: school|the office|the airport|the station|the park|the supermarket|the library|the beach|the hospital|the bank|\
the museum|the post office|the gym|the theater|the bakery|the market|the hotel|the harbor|the farm|the church|home
food: bread|butter|milk|eggs|cheese|rice|apples|bananas|tomatoes|potatoes|onions|chicken|fish|soup|coffee|tea|sugar|\
orange juice|chocolate|pasta|pizza|salad|carrots|beans|honey|yogurt|cake|ice cream|peanut butter|a sandwich
thing: book|phone|bag|key|car|bicycle|letter|coat|chair|table|box|camera|ticket|umbrella|picture|clock|watch|hat|\
bottle|cup|pen|map|knife|door|window|guitar|blanket|suitcase|newspaper|wallet|ladder|hammer|candle|basket|mirror
animal: dog|cat|horse|bird|cow|rabbit|mouse|fox|bear|sheep|duck|goat|fish|wolf|lion|elephant|spider|snake|owl|turtle
adjective: old|new|big|small|long|short|red|blue|green|yellow|black|white|heavy|light|broken|clean|dirty|beautiful|\
strange|quiet|loud|warm|cold|empty|full|cheap|expensive|wooden|dark|bright|soft|hard|wet|dry|thin|thick|round|simple
feeling: happy|sad|tired|hungry|angry|worried|busy|sick|ready|late|early|sure|afraid|surprised|bored|excited|nervous|\
lonely|proud|thirsty|comfortable|confused|glad|sorry
weather: sunny|cloudy|rainy|windy|snowing|raining|hot|cold|foggy|warm|freezing|dry
job: doctor|teacher|farmer|driver|nurse|lawyer|cook|artist|singer|soldier|sailor|writer|engineer|painter|baker|\
policeman|carpenter|student|manager|waiter|captain|king|queen|merchant
doing: reading|cooking|sleeping|working|running|swimming|singing|dancing|writing|cleaning|waiting|driving|walking|\
talking|laughing|crying|shopping|fishing|playing|studying|travelling|painting|thinking|eating dinner|watching television
verb: see|find|buy|bring|take|open|close|clean|carry|hold|move|break|fix|paint|sell|hide|lose|keep|throw|need|want|\
remember|forget|choose|use|like|draw|send|drop|wash
verbed: saw|found|bought|brought|took|opened|closed|cleaned|carried|held|moved|broke|fixed|painted|sold|hid|lost|kept|\
threw|needed|wanted|remembered|forgot|chose|used|liked|drew|sent|dropped|washed
person: I|you|we|they|he|she|{name}|my {relative}|the {job}|everyone|somebody|nobody
subject: he|she|{name}|my {relative}|the {job}|the {animal}|somebody
object: the {thing}|the {adjective} {thing}|a {adjective} {thing}|my {thing}|your {thing}|it|this|some {food}|\
the {animal}|his {thing}|her {adjective} {thing}|two {thing}s
when: today|tomorrow|yesterday|tonight|this morning|this afternoon|this evening|next week|last night|on {day}|\
at {time}|in {small} minutes|every day|in the morning|before breakfast|after lunch|right now|next {day}|last {day}|\
at noon|at midnight|on the weekend|in {month}
where: in the {room}|at {place}|near {place}|behind the house|under the table|next to the door|in {city}|on the shelf|\
by the river|across the street|on the left|on the right|upstairs|outside|over there|down the road|in the garden
manner: slowly|quickly|quietly|carefully|suddenly|again|together|alone|at once|well|softly|with a smile|without a word
please: please|please|could you|can you|would you please
"""

_TEMPLATES = """
8 {digits}
3 {number}
2 {number}, {number}, {number}
2 my number is {digits}
2 the code is {digits}
2 it costs {price}
2 that will be {price}, please
3 the meeting is at {time}
2 wake me up at {time}
2 set an alarm for {time} {when}
2 set a timer for {small} minutes
2 it is {time}
2 my birthday is on {date}
2 we leave on {day}, {date}
2 the train to {city} leaves at {time}
2 flight {digits} to {city} is delayed by {small} minutes
1 in {year}, {person} moved to {city}
1 he was born in {year} in {city}
1 open page {number}
1 room {number} is on the {ordinal} floor
1 there are {number} people in the {room}
1 {number} plus {number} is {number}
1 turn to chapter {small}
2 turn on the {device} in the {room}
2 turn off the {device}
2 {please} turn down the {device}
1 {please} close the {room} door
2 {please} bring me the {adjective} {thing}
2 remind me to call my {relative} {when}
2 call {name}
1 call my {relative}
2 send a message to {name}
2 tell {name} that i am {feeling}
2 play some music in the {room}
1 stop the music
1 play the next song
1 add {food} and {food} to the shopping list
2 we need {food}, {food} and {food}
1 take me to {place}
2 how do i get to {place}?
1 turn left at the next corner
1 go straight ahead for {small} miles
2 move forward {small} steps
2 what time is it?
2 what time is it in {city}?
2 what's the weather like in {city}?
2 will it be {weather} {when}?
2 it's going to be {weather} {when}
2 how much is the {adjective} {thing}?
2 where is my {thing}?
2 where did you put the {thing}?
2 who is {doing} {where}?
2 why are you {feeling}?
2 when does the {ordinal} train leave?
2 do you want some {food}?
2 can you help me with the {thing}?
2 have you seen my {relative} {when}?
2 did {subject} call {when}?
2 are you {doing} {when}?
2 what are you {doing} for?
1 how are you {when}?
2 i am {feeling}
2 i think {subject} is {feeling}
2 i don't know where the {thing} is
2 i'd like {food} and {food}, please
2 i can't {verb} {object} {when}
2 i will {verb} {object} {when}
2 i have to {verb} {object} before {day}
2 we should {verb} {object}
3 {person} {verbed} {object} {where}
3 {person} {verbed} {object} {when}
2 {subject} never {verbed} {object}
2 {subject} was {doing} {where} when the {thing} broke
2 {subject} was {feeling} because {person} {verbed} {object}
2 the {animal} is {doing} {where}
2 the {adjective} {thing} is {where}
2 the {job} {verbed} {object} and went {where}
2 once there was a {job} who lived {where}
2 {manner} the {animal} came out and {verbed} {object}
2 the {job} looked at the {animal} and smiled
2 there was {object} {where}, but {person} {verbed} it
2 if it is {weather} {when}, we will stay {where}
2 after {doing} for {small} hours, {subject} went to {place}
2 {name} and {name} are {doing} {where}
2 my {relative} lives in {city}
2 my {relative} is a {job}
2 her name is {name}
1 this is {name}, my {relative}
1 nice to meet you, {name}
1 good morning, {name}
1 good evening
1 good night, {name}
1 thank you very much
1 you're welcome
1 yes, please
1 no, thank you
1 excuse me, is this {place}?
1 see you {when}
1 of course i can
1 i'm sorry, i didn't hear you
1 could you say that again, please?
1 hello, how are you?
1 have a nice day
1 that's a good idea
1 i don't think so
1 let's go to {place} {when}
1 don't forget your {thing}
1 wait a minute
1 never mind
1 press {digit} to continue
1 please hold, and someone will be with you in {small} minutes
1 what did {name} say about the {thing}?
1 search for {adjective} {thing}s
1 read me the news
1 cancel my appointment {when}
1 book a table for {small} at {time}
1 translate this letter
1 write down the number {digits}
1 the temperature is {number} degrees
1 {person} gave me {small} {thing}s for my birthday
1 it took {small} years to build {place}
1 about {small} per cent of the {food} was gone
"""


def number_words(n: int) -> str:
    """Spell out 0 <= n < 1,000,000 as it is spoken."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + (" " + ONES[n % 10] if n % 10 else "")
    for unit, word in ((1000, "thousand"), (100, "hundred")):
        if n >= unit:
            rest = n % unit
            joint = " and " if unit == 100 and n % 3 == 0 else " "  # British and American readings
            return number_words(n // unit) + " " + word + (joint + number_words(rest) if rest else "")
    raise AssertionError


class Grammar:
    """Endless everyday sentences from `_TEMPLATES`; the same generator state gives the same sentences."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.classes = {}
        for line in _CLASSES.strip().splitlines():
            name, words = line.split(":")
            self.classes[name] = words.strip().split("|")
        pairs = [line.split(" ", 1) for line in _TEMPLATES.strip().splitlines()]
        self.weights, self.templates = [float(w) for w, _ in pairs], [t for _, t in pairs]

    def sentence(self) -> str:
        """Return one sentence in spoken form."""
        text = self.rng.choices(self.templates, self.weights)[0]
        while "{" in text:
            text = re.sub(r"\{(\w+)\}", lambda m: self._fill(m[1]), text, count=1)
        return text

    def _fill(self, name: str) -> str:
        r = self.rng
        if name in self.classes:
            return r.choice(self.classes[name])
        match name:
            case "digit":
                return r.choice(ONES[:10])
            case "digits":
                zero = r.choice(("zero", "zero", "oh"))
                words = [zero if d == 0 else ONES[d] for d in (r.randrange(10) for _ in range(r.randint(1, 8)))]
                pause = r.choice((" ", " ", ", "))  # digits are read fluently or one by one
                return pause.join(words)
            case "small":
                return number_words(r.randint(2, 40))
            case "number":
                return number_words(int(10 ** r.uniform(0, 5)))
            case "year":
                return number_words(r.choice((18, 19, 20))) + " " + number_words(r.randint(10, 99))
            case "ordinal":
                return r.choice(ORDINALS)
            case "price":
                cents = r.choice(("", " and " + number_words(r.randint(2, 99)) + " cents", " " + number_words(50)))
                return number_words(r.randint(2, 300)) + " dollars" + cents
            case "time":
                hour, minute = number_words(r.randint(1, 12)), r.randint(1, 59)
                forms = (hour + " o'clock", "half past " + hour, "quarter to " + hour, "quarter past " + hour)
                exact = hour + " " + ("oh " if minute < 10 else "") + number_words(minute)
                return r.choice((*forms, exact, exact, exact, exact + r.choice((" a m", " p m")), hour))
            case "day":
                return r.choice(DAYS)
            case "month":
                return r.choice(MONTHS)
            case "date":
                return r.choice(("{m} {o}", "the {o} of {m}")).format(m=r.choice(MONTHS), o=r.choice(ORDINALS))
        raise KeyError(name)
